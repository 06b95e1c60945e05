// The documents are true: they list every setting with its default, name the two commands, and their links lead somewhere.
import { existsSync, globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { describeSettings } from '../server/config.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const textOf = (file: string) => readFile(join(root, file), 'utf8')
const documents = globSync('{*.md,docs/**/*.md,contracts/*.md}', { cwd: root }).sort()

describe('the documents', () => {
  it('list every setting with its default and meaning, in the order of --help, and no other', async () => {
    const settings = await textOf('docs/settings.md')
    const rows = describeSettings().map(({ name, fallback, meaning }) => `| \`${name}\` | ${fallback} | ${meaning} |`)
    const table = settings.split('\n').filter((line) => line.startsWith('| `SHEAF_'))
    expect(table).toEqual(rows)
  })

  it('name the two commands', async () => {
    const readme = await textOf('README.md')
    expect(readme).toContain('npm ci && npm start')
    expect(readme).toContain('npm ci && npm test')
  })

  it.each(documents)('link to files that exist: %s', async (file) => {
    const links = [...(await textOf(file)).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)].map(([, path]) => path!)
    for (const path of links) expect([path, existsSync(join(root, dirname(file), path))]).toEqual([path, true])
  })

  it.each(documents)('name files that exist: %s', async (file) => {
    const paths = [
      ...(await textOf(file)).matchAll(/`((?:server|contracts|client-node|client-web|test)\/[\w./-]+\.\w+)`/g),
    ]
    for (const [, path] of paths) expect([path, existsSync(join(root, path!))]).toEqual([path, true])
  })
})
