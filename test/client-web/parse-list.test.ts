// How the text in the box of URLs is read.
import { describe, expect, it } from 'vitest'
import { parseList } from '../../client-web/parse-list.ts'

describe('parseList', () => {
  it('takes one URL from each line, with any kind of line end', () => {
    expect(parseList('http://a/1\nhttp://a/2\r\nhttp://a/3\rhttp://a/4')).toEqual([
      'http://a/1',
      'http://a/2',
      'http://a/3',
      'http://a/4',
    ])
  })

  it('skips blank lines and comments, but not a "#" inside a URL', () => {
    expect(parseList('\n  \n# a comment\n  # an indented one\nhttp://a/1#part\n\t\n')).toEqual(['http://a/1#part'])
  })

  it('takes what follows a tab as the name', () => {
    expect(parseList('  http://a/1 \t  folder/one name.png \n')).toEqual([
      { url: 'http://a/1', name: 'folder/one name.png' },
    ])
  })

  it('ignores a tab at the end of a line', () => {
    expect(parseList('http://a/1\t\nhttp://a/2\t  ')).toEqual(['http://a/1', 'http://a/2'])
  })

  it('splits at the first tab only', () => {
    expect(parseList('http://a/1\tone\ttwo')).toEqual([{ url: 'http://a/1', name: 'one\ttwo' }])
  })

  it('keeps invalid and duplicate URLs, because the server judges them', () => {
    expect(parseList('nonsense\nnonsense')).toEqual(['nonsense', 'nonsense'])
  })

  it('reads a file saved with a byte order mark', () => {
    expect(parseList('\uFEFFhttp://a/1')).toEqual(['http://a/1'])
  })
})
