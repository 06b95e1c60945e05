// Names: where they are looked up, what the result is, and that names without an answer keep nobody waiting.
import type { LookupAddress } from 'node:dns'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { createResolver, type ResolverOptions } from '../../../server/fetch/resolve.ts'
import { startNameServer, type Zone } from '../../support/name-server.ts'
import { tempDirectory } from '../../support/temp.ts'
import { until } from '../../support/wait.ts'

async function ask(zones: Record<string, Zone>, name: string, options: Partial<ResolverOptions> = {}) {
  await using server = await startNameServer(zones)
  const resolve = promisify(
    createResolver({ timeoutMs: 2_000, servers: [server.address], hostsFile: '/none', ...options }),
  )
  const found = await resolve(name, { all: true }).catch((error: NodeJS.ErrnoException) => error.code)
  return typeof found === 'object' ? found.map(({ address }) => address) : found
}

const silent: Zone = { a: 'silent', aaaa: 'silent' }

it('finds addresses of both families', async () => {
  const zone: Zone = { a: ['192.0.2.1', '192.0.2.2'], aaaa: ['2001:0db8:0000:0000:0000:0000:0000:0001'] }
  expect(await ask({ 'both.test': zone }, 'Both.Test.')).toEqual(['192.0.2.1', '192.0.2.2', '2001:db8::1'])
  expect(await ask({ 'six.test': { aaaa: zone.aaaa! } }, 'six.test')).toEqual(['2001:db8::1'])
  expect(await ask({ 'alias.test': { alias: 'real.test' }, 'real.test': zone }, 'alias.test')).toContain('192.0.2.1')
})

it('does not wait for a family that is never answered', async () => {
  expect(await ask({ 'half.test': { a: ['192.0.2.1'], aaaa: 'silent' } }, 'half.test')).toEqual(['192.0.2.1'])
  const six = ['2001:0db8:0000:0000:0000:0000:0000:0001']
  expect(await ask({ 'half.test': { a: 'silent', aaaa: six } }, 'half.test')).toEqual(['2001:db8::1'])
})

it('distinguishes a name that does not exist or has no address from one that is never answered', async () => {
  expect(await ask({}, 'none.test')).toBe('ENOTFOUND')
  expect(await ask({ 'empty.test': {} }, 'empty.test')).toBe('ENOTFOUND')
  expect(await ask({ 'broken.test': { rcode: 2 } }, 'broken.test')).toBe('EAI_AGAIN')
  expect(await ask({ 'silent.test': silent }, 'silent.test', { timeoutMs: 300 })).toBe('EAI_AGAIN')
})

it('resolves a good name while hundreds of others are never answered', async () => {
  await using server = await startNameServer((name) => (name === 'good.test' ? { a: ['192.0.2.1'] } : silent))
  const resolve = promisify(createResolver({ timeoutMs: 3_000, servers: [server.address], hostsFile: '/none' }))
  let answered = 0
  const hanging = Array.from({ length: 300 }, async (_, index) => {
    await resolve(`silent-${index}.test`, { all: true }).catch(() => {})
    answered++
  })
  const found = await resolve('good.test', { all: true })
  expect([found.map(({ address }) => address), answered]).toEqual([['192.0.2.1'], 0])
  await Promise.all(hanging)
})

it('reads the hosts file first, and again when it has changed', async () => {
  await using directory = await tempDirectory()
  const hostsFile = join(directory.path, 'hosts')
  await writeFile(hostsFile, '# none\n127.0.0.9  Own.test other.test # mine\n::1 own.test\nnonsense own.test\n')
  await using server = await startNameServer({})
  const resolve = promisify(createResolver({ timeoutMs: 2_000, servers: [server.address], hostsFile }))
  const addresses = async (name: string) => (await resolve(name, { all: true })).map(({ address }) => address)
  expect(await addresses('own.TEST')).toEqual(['127.0.0.9', '::1'])
  expect(await addresses('other.test')).toEqual(['127.0.0.9'])
  expect(server.asked).toEqual([])
  await writeFile(hostsFile, '127.0.0.10 own.test\n')
  await expect.poll(() => addresses('own.test'), { timeout: 5_000 }).toEqual(['127.0.0.10'])
})

it('reads the hosts file before the first answer, and forgets it when it is removed', async () => {
  await using directory = await tempDirectory()
  const hostsFile = join(directory.path, 'hosts')
  await writeFile(hostsFile, '127.0.0.9 own.test\n')
  await using server = await startNameServer({})
  const resolve = promisify(createResolver({ timeoutMs: 2_000, servers: [server.address], hostsFile }))
  const ask = () => resolve('own.test', { all: true }).catch(({ code }) => code)
  const burst = await Promise.all(Array.from({ length: 20 }, ask))
  expect(new Set(burst.map((found) => JSON.stringify(found))).size).toBe(1)
  expect(burst[0]).toEqual([{ address: '127.0.0.9', family: 4 }])
  await rm(hostsFile)
  await expect.poll(ask, { timeout: 5_000 }).toBe('ENOTFOUND')
})

it('reports that a name has no address only if both families say so', async () => {
  const zones: Record<string, Zone> = { 'four.test': { a: 'silent' }, 'six.test': { aaaa: 'silent' } }
  expect(await ask(zones, 'four.test', { timeoutMs: 300 })).toBe('EAI_AGAIN')
  expect(await ask(zones, 'six.test', { timeoutMs: 300 })).toBe('EAI_AGAIN')
})

it('asks the system for names of one label one at a time, and skips those that nobody waits for any more', async () => {
  await using server = await startNameServer({})
  const asked: string[] = []
  const answers: (() => void)[] = []
  const askSystem = (name: string) => {
    asked.push(name)
    return new Promise<LookupAddress[]>((resolve) => {
      answers.push(() => resolve([{ address: '192.0.2.7', family: 4 }]))
    })
  }
  const options = { timeoutMs: 1_000, servers: [server.address], hostsFile: '/none', askSystem }
  const resolve = promisify(createResolver(options))
  const ask = (name: string) => resolve(name, { all: true }).catch(({ code }) => code)
  const names = Array.from({ length: 80 }, (_, index) => `short-${index}`)
  const told = await Promise.all(names.map(ask))
  expect(new Set(told)).toEqual(new Set(['EAI_AGAIN']))
  expect(asked.length).toBe(1)
  answers[0]!()
  const late = ask('later')
  await until(() => asked.length === 2, { what: 'the system to be asked again' })
  expect(asked[1]).toBe('later')
  answers[1]!()
  expect(await late).toEqual([{ address: '192.0.2.7', family: 4 }])
})

it('resolves localhost and names below it to this machine, whatever name servers say', async () => {
  for (const name of ['localhost', 'LOCALHOST.', 'a.b.localhost']) {
    expect(await ask({ localhost: { a: ['192.0.2.1'] } }, name)).toEqual(['127.0.0.1', '::1'])
  }
})
