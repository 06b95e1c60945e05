// The box of URLs, read.
import { describe, expect, it } from 'vitest'
import { parseList } from '../../client-web/parse-list.ts'

describe('parseList', () => {
  it('takes one URL a line, whatever ends the lines', () => {
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

  it('takes a tab at the end for white space', () => {
    expect(parseList('http://a/1\t\nhttp://a/2\t  ')).toEqual(['http://a/1', 'http://a/2'])
  })

  it('splits at the first tab only', () => {
    expect(parseList('http://a/1\tone\ttwo')).toEqual([{ url: 'http://a/1', name: 'one\ttwo' }])
  })

  it('keeps what is no URL, and what is there twice: the server judges', () => {
    expect(parseList('nonsense\nnonsense')).toEqual(['nonsense', 'nonsense'])
  })

  it('reads a file saved with a byte order mark', () => {
    expect(parseList('\uFEFFhttp://a/1')).toEqual(['http://a/1'])
  })
})
