// Checks the floor plan: which file may import which, and a few rules about files that a linter does not know.
import { globSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { functionsOf } from './support/functions.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const MAX_LINES = 400
/** Tests are lists of sentences, so a longer file can be read in part. */
const MAX_TEST_LINES = 800
/** Includes functions inside it: a closure of two hundred lines is a class without a list of its fields. */
const MAX_FUNCTION_LINES = 190

interface Import {
  readonly from: string
  /** Our own files are paths from the root. Everything else is as it is written. */
  readonly to: string
  readonly isOurs: boolean
  readonly typeOnly: boolean
}

const files = globSync('{contracts,server,client-node,client-web,test}/**/*.{ts,js,css,html}', {
  cwd: root,
  exclude: (path) => path === 'client-web/dist' || path.includes('node_modules'),
}).sort()
const textOf = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
const imports = files.filter((file) => file.endsWith('.ts')).flatMap((file) => importsOf(file, textOf.get(file)!))

/** Finds static and dynamic imports, re-exports and import types. A comment or string that looks like an import counts as one. */
function importsOf(from: string, text: string): Import[] {
  const found: Import[] = []
  const take = (specifier: string, typeOnly: boolean) => found.push({ from, ...resolve(from, specifier), typeOnly })
  for (const [, clause = '', specifier] of text.matchAll(/^(?:import|export)\s+([^'"`;]*?\sfrom\s*)?'([^']+)'/gms)) {
    take(specifier!, isTypeOnly(clause))
  }
  for (const [, specifier] of text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g)) take(specifier!, false)
  return found
}

function isTypeOnly(clause: string): boolean {
  if (/^type\s/.test(clause)) return true
  const named = /^\{(.*)\}\s*from\s*$/s.exec(clause)?.[1]
  if (named === undefined) return false
  const names = named.split(',').map((name) => name.trim())
  return names.every((name) => name === '' || name.startsWith('type '))
}

function resolve(from: string, specifier: string): Pick<Import, 'to' | 'isOurs'> {
  if (specifier.startsWith('#contracts/')) return { to: specifier.slice(1), isOurs: true }
  if (specifier.startsWith('.')) return { to: normalize(join(dirname(from), specifier)), isOurs: true }
  return { to: specifier, isOurs: false }
}

const told = (found: Import[]) => found.map(({ from, to }) => `${from} -> ${to}`)
const isBelow = (folder: string) => (path: string) => path.startsWith(`${folder}/`)
const isIn =
  (...folders: string[]) =>
  (path: string) =>
    folders.some((folder) => isBelow(folder)(path))
const isPackage = (to: string, name: string) => to === name || to.startsWith(`${name}/`)
const isClient = isIn('client-node', 'client-web')

/** From the ground up. A file may import from its own floor and from those below it. */
const floors: readonly (readonly string[])[] = [
  ['server/lib/'],
  ['server/ports/'],
  ['server/fetch/', 'server/zip/', 'server/tar/', 'server/adapters/', 'server/samples/'],
  ['server/archives/'],
  ['server/http/'],
  ['server/config.ts'],
  ['server/app/'],
  ['server/app.ts'],
  ['server/main.ts'],
]
const isManifest = (path: string) => path === 'server/archives/manifest.ts'
/** The rooms of `server/archives`, from the ground up: the manifest, the bytes, the one writer, the views, and the face. */
const rooms: readonly ((path: string) => boolean)[] = [
  isManifest,
  isBelow('server/archives/bytes'),
  isBelow('server/archives/build'),
  isBelow('server/archives/views'),
  (path) => dirname(path) === 'server/archives',
]
const roomOf = (path: string) => rooms.findIndex((isInRoom) => isInRoom(path))
const roomUnder: ReadonlyMap<string, string> = new Map([
  ['server/archives/service.ts', 'views'],
  ['server/archives/runner.ts', 'build'],
])
const floorOf = (path: string) => floors.findIndex((floor) => floor.some((prefix) => path.startsWith(prefix)))

describe('the plan', () => {
  it('is checked on real imports, which this test can read', () => {
    expect(files.length).toBeGreaterThan(80)
    expect(told(imports)).toContain('server/app.ts -> server/adapters/sqlite/journal.ts')
    expect(told(imports)).toContain('client-node/index.ts -> contracts/client.ts')
    expect(imports.find(({ from, to }) => from === 'server/http/server.ts' && to === 'ws')).toBeDefined()
    expect(imports.filter(({ from, to }) => from === 'contracts/api.ts' && to === 'contracts/archive.ts')).toEqual([
      { from: 'contracts/api.ts', to: 'contracts/archive.ts', isOurs: true, typeOnly: true },
    ])
    for (const { from, to } of imports.filter(({ isOurs, to }) => isOurs && to.endsWith('.ts'))) {
      expect([from, to, textOf.has(to)]).toEqual([from, to, true])
    }
  })

  it('gives every file of the server a floor, and imports point down only', () => {
    const server = files.filter((file) => isBelow('server')(file) && file.endsWith('.ts'))
    expect(server.filter((file) => floorOf(file) < 0)).toEqual([])
    const up = imports.filter(
      ({ from, to }) => isBelow('server')(from) && isBelow('server')(to) && floorOf(to) > floorOf(from),
    )
    expect(told(up)).toEqual([])
  })

  it('gives every file about archives a room, and imports between rooms point down only', () => {
    const archives = files.filter(isBelow('server/archives'))
    expect(archives.filter((file) => roomOf(file) < 0)).toEqual([])
    const up = imports.filter(({ from, to }) => roomOf(from) >= 0 && roomOf(to) > roomOf(from))
    expect(told(up)).toEqual([])
    // The face knows the writer and the views, and does not know where bytes lie.
    const own = rooms.length - 1
    const face = imports.filter(({ from, to }) => roomOf(from) === own && roomOf(to) > 0 && roomOf(to) < own)
    const allowed = face.filter(({ from, to }) => isBelow(`server/archives/${roomUnder.get(from)}`)(to))
    expect(allowed.length).toBeGreaterThan(0)
    expect(told(face.filter((found) => !allowed.includes(found)))).toEqual([])
  })

  it('has no import from one house of a floor to another', () => {
    // Packing a zip, packing a tar, storing bytes and fetching do not know each other.
    const houses = ['fetch', 'zip', 'tar', 'samples', 'adapters/disk', 'adapters/sqlite'].map(
      (name) => `server/${name}`,
    )
    const houseOf = (path: string) => houses.find((house) => isBelow(house)(path))
    const across = imports.filter(({ from, to }) => {
      const [own, other] = [houseOf(from), houseOf(to)]
      return own !== undefined && other !== undefined && own !== other
    })
    expect(told(across)).toEqual([])
  })

  it('has no cycles, not even of types', () => {
    const next = Map.groupBy(
      imports.filter(({ isOurs }) => isOurs),
      ({ from }) => from,
    )
    const done = new Set<string>()
    const cycles: string[] = []
    const walk = (file: string, path: readonly string[]) => {
      const start = path.indexOf(file)
      if (start >= 0) cycles.push([...path.slice(start), file].join(' -> '))
      if (start >= 0 || done.has(file)) return
      for (const { to } of next.get(file) ?? []) walk(to, [...path, file])
      done.add(file)
    }
    for (const file of files) walk(file, [])
    expect(cycles).toEqual([])
  })

  it('keeps the contracts on the ground: they import neither our other code nor Node', () => {
    const contracts = imports.filter(({ from }) => isBelow('contracts')(from))
    expect(told(contracts.filter(({ to, isOurs }) => isOurs && !isBelow('contracts')(to)))).toEqual([])
    expect(told(contracts.filter(({ to, isOurs }) => !isOurs && isBuiltin(to)))).toEqual([])
  })

  it('keeps clients and server from importing each other', () => {
    // The development server of the page starts the real one, and does not belong to the page.
    const apart = imports.filter(({ from }) => from !== 'client-web/dev.ts')
    expect(told(apart.filter(({ from, to }) => isClient(from) && isBelow('server')(to)))).toEqual([])
    expect(told(apart.filter(({ from, to }) => isBelow('server')(from) && isClient(to)))).toEqual([])
    expect(told(apart.filter(({ from, to }) => isBelow('client-web')(from) && isBelow('client-node')(to)))).toEqual([])
    expect(told(apart.filter(({ from, to }) => isBelow('client-node')(from) && isBelow('client-web')(to)))).toEqual([])
    expect(told(imports.filter(({ from, to }) => !isBelow('test')(from) && isBelow('test')(to)))).toEqual([])
  })

  it('keeps tRPC behind two doors', () => {
    const users = (name: string) =>
      new Set(imports.filter(({ from, to }) => isPackage(to, name) && !isBelow('test')(from)).map(({ from }) => from))
    expect([...users('@trpc/client')]).toEqual(['contracts/client.ts', 'contracts/client/failures.ts'])
    expect([...users('@trpc/server')]).toEqual(['contracts/router.ts', 'server/http/trpc.ts'])
    const adapters = imports.filter(({ from, to }) => from === 'server/http/trpc.ts' && isPackage(to, '@trpc/server'))
    for (const { to } of adapters) expect(to).toMatch(/^@trpc\/server\/adapters\//)
    const router = imports.filter(({ from, to }) => to === 'contracts/router.ts' && !isIn('server', 'test')(from))
    expect(router.length).toBeGreaterThan(0)
    expect(told(router.filter(({ typeOnly }) => !typeOnly))).toEqual([])
  })

  it('lets only the composition root choose adapters', () => {
    const choosing = imports.filter(({ from, to }) => isBelow('server/adapters')(to) && isBelow('server')(from))
    const outside = choosing.filter(({ from }) => !isBelow('server/adapters')(from))
    expect(new Set(outside.map(({ from }) => from))).toEqual(new Set(['server/app.ts']))
  })

  it('reads the environment in one place', () => {
    const readers = files.filter(
      (file) => isBelow('server')(file) && /\bprocess\.env\b|\benv \} = process\b/.test(textOf.get(file)!),
    )
    expect(readers).toEqual(['server/config.ts'])
  })

  it('starts every file with a sentence that says what it owns', () => {
    const scripts = files.filter((file) => /\.[tj]s$/.test(file))
    const silent = scripts.filter((file) => !/^(#!.*\n)?\/\/ \S.{15,}\n/.test(textOf.get(file)!))
    expect(silent).toEqual([])
  })

  it('has no file that is too long to read at once', () => {
    const lines = (file: string) => textOf.get(file)!.split('\n').length - 1
    const limit = (file: string) => (isBelow('test')(file) ? MAX_TEST_LINES : MAX_LINES)
    const long = files.filter((file) => lines(file) > limit(file)).map((file) => `${file}: ${lines(file)}`)
    expect(long).toEqual([])
  })

  it('has no function that is too long to read at once', () => {
    const sources = files.filter((file) => file.endsWith('.ts') && !isBelow('test')(file))
    const functions = sources.flatMap((file) =>
      functionsOf(file, textOf.get(file)!).map((found) => ({ file, ...found })),
    )
    expect(functions).toContainEqual({ file: 'server/main.ts', name: 'complain', lines: 4 })
    const long = functions.filter(({ lines }) => lines > MAX_FUNCTION_LINES)
    expect(long.map(({ file, name, lines }) => `${file} ${name}: ${lines}`)).toEqual([])
  })
})
