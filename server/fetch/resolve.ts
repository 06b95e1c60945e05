// Resolves host names over sockets of its own, so that names that are never answered keep nobody else's waiting. Judges nothing.
import { type LookupAddress, lookup } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export type Resolve = (
  hostname: string,
  options: { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

export interface ResolverOptions {
  /** One lookup takes no longer. */
  timeoutMs: number
  /** "ip" or "ip:port". @default those of the system */
  servers?: readonly string[]
  /** @default "/etc/hosts" */
  hostsFile?: string
  /** What only the system knows. @default getaddrinfo */
  askSystem?: (hostname: string) => Promise<LookupAddress[]>
}

/** RFC 8305 section 3: the addresses of one family wait so long for those of the other. */
const OTHER_FAMILY_MS = 50
/** The file of hosts is looked at this often at most. */
const HOSTS_FOR_MS = 1_000
/** Names that wait for getaddrinfo. Further ones are told at once that they may be asked for later. */
const MAX_WAITING = 64
const LOOPBACK: readonly LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
]

class ResolveError extends Error {
  override readonly name = 'ResolveError'
  readonly code: 'ENOTFOUND' | 'EAI_AGAIN'

  constructor(code: 'ENOTFOUND' | 'EAI_AGAIN', hostname: string, options?: ErrorOptions) {
    super(`${code === 'ENOTFOUND' ? 'no address for' : 'no answer about'} ${hostname}`, options)
    this.code = code
  }
}

/**
 * getaddrinfo takes a thread for as long as a name server is silent, and libuv has two of them for all lookups: two silent
 * names stop everybody's. c-ares asks over sockets. What only the system knows, a name of one label or below `.local` that
 * the name servers do not have, is still asked of getaddrinfo, one name at a time.
 */
export function createResolver(options: ResolverOptions): Resolve {
  const { timeoutMs, servers, hostsFile = '/etc/hosts', askSystem = getaddrinfo } = options
  const hostsOf = createHosts(hostsFile)
  let turn: Promise<unknown> = Promise.resolve()
  let waiting = 0

  async function resolve(hostname: string): Promise<LookupAddress[]> {
    const name = hostname.toLowerCase().replace(/\.$/, '')
    // RFC 6761 section 6.3.
    if (name === 'localhost' || name.endsWith('.localhost')) return [...LOOPBACK]
    const known = (await hostsOf()).get(name)
    if (known !== undefined) return [...known]
    try {
      return await ask(name)
    } catch (error) {
      const isOfSystem = !name.includes('.') || name.endsWith('.local')
      if (!isOfSystem || (error as ResolveError).code !== 'ENOTFOUND') throw error
      return await inTurn(name)
    }
  }

  async function ask(name: string): Promise<LookupAddress[]> {
    // One for each name: it can be cancelled alone, and knows the system's servers of now.
    const resolver = new Resolver({ timeout: Math.max(1, Math.ceil(timeoutMs / 4)), tries: 2 })
    if (servers !== undefined) resolver.setServers(servers)
    const over = new AbortController()
    const deadline = setTimeout(() => resolver.cancel(), timeoutMs)
    const failures: unknown[] = []
    const find = async (addresses: Promise<string[]>, family: 4 | 6) => {
      try {
        return (await addresses).map((address) => ({ address, family }))
      } catch (error) {
        failures.push(error)
        return []
      }
    }
    try {
      const families = [find(resolver.resolve4(name), 4), find(resolver.resolve6(name), 6)] as const
      const first = await Promise.race(families)
      const late = first.length === 0 ? [] : [sleep(OTHER_FAMILY_MS, [], { signal: over.signal }).catch(() => [])]
      const found = await Promise.all(families.map((family) => Promise.race([family, ...late])))
      const addresses = found.flat()
      if (addresses.length > 0) return addresses
      throw failureOf(name, failures)
    } finally {
      clearTimeout(deadline)
      over.abort()
      resolver.cancel()
    }
  }

  /** One that has waited too long is not looked up any more: a name takes a thread for seconds. */
  function inTurn(name: string): Promise<LookupAddress[]> {
    if (waiting === MAX_WAITING) throw new ResolveError('EAI_AGAIN', name)
    waiting++
    const { promise, resolve, reject } = Promise.withResolvers<LookupAddress[]>()
    let isOver = false
    const tooLate = setTimeout(() => {
      isOver = true
      reject(new ResolveError('EAI_AGAIN', name))
    }, timeoutMs)
    turn = turn.then(async () => {
      waiting--
      if (!isOver) await askSystem(name).then(resolve, reject)
      clearTimeout(tooLate)
    })
    return promise
  }

  return (hostname, _options, callback) => {
    resolve(hostname).then(
      (addresses) => callback(null, addresses),
      (error: NodeJS.ErrnoException) => callback(error, []),
    )
  }
}

const getaddrinfo = (name: string): Promise<LookupAddress[]> =>
  new Promise((resolve, reject) => {
    lookup(name, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)))
  })

/**
 * A name that does not exist has no address of either family, so one answer says it for both (RFC 8020). That it has none of
 * one family says nothing of the other, which may be answered another time.
 */
function failureOf(name: string, failures: readonly unknown[]): ResolveError {
  const codes = failures.map((error) => (error as { code?: unknown }).code)
  const isKnown = codes.includes('ENOTFOUND') || codes.every((code) => code === 'ENODATA')
  return new ResolveError(isKnown ? 'ENOTFOUND' : 'EAI_AGAIN', name, { cause: failures[0] })
}

type Hosts = ReadonlyMap<string, readonly LookupAddress[]>

/** The addresses by name in a file as hosts(5) has it; read again when it has changed. All who ask meanwhile wait for one reading. */
function createHosts(file: string): () => Promise<Hosts> {
  let hosts: Promise<Hosts> = Promise.resolve(new Map())
  let changedMs: number | null = null
  let lookedMs = Number.NEGATIVE_INFINITY

  async function look(before: Promise<Hosts>): Promise<Hosts> {
    const found = await stat(file).catch(() => null)
    if (found !== null && found.mtimeMs === changedMs) return before
    changedMs = found?.mtimeMs ?? null
    return readHosts(await readFile(file, 'utf8').catch(() => ''))
  }

  return () => {
    if (performance.now() - lookedMs >= HOSTS_FOR_MS) {
      lookedMs = performance.now()
      hosts = look(hosts)
    }
    return hosts
  }
}

function readHosts(text: string): Map<string, LookupAddress[]> {
  const hosts = new Map<string, LookupAddress[]>()
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    const family = isIP(address)
    if (family === 0) continue
    for (const name of names) {
      const key = name.toLowerCase()
      hosts.set(key, [...(hosts.get(key) ?? []), { address, family }])
    }
  }
  return hosts
}
