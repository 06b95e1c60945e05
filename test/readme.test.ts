// The README says what is so: every setting with its default, and no placeholder.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { describeSettings } from '../server/config.ts'

const readme = await readFile(fileURLToPath(new URL('../README.md', import.meta.url)), 'utf8')

describe('the README', () => {
  it('lists every setting with its default and meaning, in the order of --help, and no other', () => {
    const rows = describeSettings().map(({ name, fallback, meaning }) => `| \`${name}\` | ${fallback} | ${meaning} |`)
    const table = readme.split('\n').filter((line) => line.startsWith('| `SHEAF_'))
    expect(table).toEqual(rows)
  })

  it('names the two commands', () => {
    expect(readme).toContain('npm ci && npm start')
    expect(readme).toContain('npm ci && npm test')
  })
})
