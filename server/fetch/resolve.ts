// Resolves host names over its own sockets, so that a name that gets no answer does not delay others. Judges nothing.
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
  /** The longest time of one lookup. */
  timeoutMs: number
  /** Name servers as "ip" or "ip:port". @default the system's name servers */
  servers?: readonly string[]
  /** @default "/etc/hosts" */
  hostsFile?: string
  /** Resolves names that only the system knows. @default getaddrinfo */
  askSystem?: (hostname: string) => Promise<LookupAddress[]>
}

/** After the addresses of one family have come, this is how long to wait for the other family (RFC 8305 section 3). */
const OTHER_FAMILY_MS = 50
/** The hosts file is checked for changes at most this often. */
const HOSTS_FOR_MS = 1_000
/** At most this many names wait for getaddrinfo. Any other fails at once, with an error that allows a retry. */
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
 * getaddrinfo occupies a thread for as long as a name server is silent. libuv has two threads for all lookups, so two
 * silent names would stop all others. c-ares asks over sockets instead. Some names are known only to the system: names
 * of one label and names below `.local`. If the name servers do not have such a name, getaddrinfo is asked, for one
 * name at a time.
 */
export function createResolver(options: ResolverOptions): Resolve {
  const { timeoutMs, servers, hostsFile = '/etc/hosts', askSystem = getaddrinfo } = options
  const hostsOf = createHosts(hostsFile)
  let turn: Promise<unknown> = Promise.resolve()
  let waiting = 0

  async function resolve(hostname: string): Promise<LookupAddress[]> {
    const name = hostname.toLowerCase().replace(/\.$/, '')
    // RFC 6761 section 6.3: these names are always loopback.
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
    // Each name has a resolver of its own: it can be cancelled alone, and it reads the system's current name servers.
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

  /** A name that has waited too long is not looked up any more, because a lookup can occupy a thread for seconds. */
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
 * If a name does not exist, it has no address of either family, so one such answer is enough (RFC 8020). An answer that
 * it has no address of one family says nothing about the other family, which may be answered on another try.
 */
function failureOf(name: string, failures: readonly unknown[]): ResolveError {
  const codes = failures.map((error) => (error as { code?: unknown }).code)
  const isKnown = codes.includes('ENOTFOUND') || codes.every((code) => code === 'ENODATA')
  return new ResolveError(isKnown ? 'ENOTFOUND' : 'EAI_AGAIN', name, { cause: failures[0] })
}

type Hosts = ReadonlyMap<string, readonly LookupAddress[]>

/**
 * The addresses by name in a hosts(5) file. The file is read again when it has changed; calls in the meantime share
 * that read.
 */
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
