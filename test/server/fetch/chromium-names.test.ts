// The names that Chromium gives to downloads, against ours, in pure functions. What Chromium says is asked elsewhere.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { proposeName } from '../../../server/fetch/name.ts'
import { cleanEntryName } from '../../../server/zip/entry-name.ts'
import { type NameCase, nameCases } from '../../support/chromium-names.ts'

type Asked = Pick<NameCase, 'path' | 'type' | 'disposition'>

function nameOf({ path, type, disposition }: Asked): string {
  const finalUrl = new URL(`https://origin.test/${path}`)
  return cleanEntryName(proposeName({ finalUrl, contentType: type, contentDisposition: disposition, index: 0 }), 0)
}

describe('names as Chromium makes them', () => {
  it.each(nameCases)('$path of type $type with $disposition is $ours', (each) => {
    expect(nameOf(each)).toBe(each.ours)
  })

  it('differ only for a reason, and a reason stands only where they differ', () => {
    expect(nameCases.length).toBeGreaterThan(300)
    expect(nameCases.filter(({ chromium, ours, why }) => (chromium === ours) !== (why === null))).toEqual([])
    const asked = nameCases.map(({ path, type, disposition }) => JSON.stringify([path, type, disposition]))
    expect(asked).toHaveLength(new Set(asked).size)
  })

  it("are in the users' document as we make them", () => {
    const text = readFileSync(new URL('../../../docs/names.md', import.meta.url), 'utf8')
    const rows = [...text.matchAll(/^\| `\/(.*?)` \| `(.*?)` \| `(.*?)` \|$/gm)]
    expect(rows.length).toBeGreaterThan(8)
    for (const [, path, field, entry] of rows) {
      const isType = /^\w+\/[\w-]+$/.test(field!)
      const told = { type: isType ? field! : '', disposition: isType ? '' : field! }
      expect([path, field, nameOf({ path: path!, ...told })]).toEqual([path, field, entry])
    }
  })
})
