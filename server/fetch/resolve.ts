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
}

/** RFC 8305 section 3: the addresses of one family wait so long for those of the other. */
const OTHER_FAMILY_MS = 50
/** The file of hosts is looked at this often at most. */
const HOSTS_FOR_MS = 1_000
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
export function createResolver({ timeoutMs, servers, hostsFile = '/etc/hosts' }: ResolverOptions): Resolve {
  const hostsOf = createHosts(hostsFile)
  let turn: Promise<unknown> = Promise.resolve()

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

  function inTurn(name: string): Promise<LookupAddress[]> {
    const lookedUp = turn.then(
      () =>
        new Promise<LookupAddress[]>((resolve, reject) => {
          lookup(name, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)))
        }),
    )
    turn = lookedUp.catch(() => {})
    const tooLate = sleep(timeoutMs, null, { ref: false }).then(() => {
      throw new ResolveError('EAI_AGAIN', name)
    })
    return Promise.race([lookedUp, tooLate])
  }

  return (hostname, _options, callback) => {
    resolve(hostname).then(
      (addresses) => callback(null, addresses),
      (error: NodeJS.ErrnoException) => callback(error, []),
    )
  }
}

/** A name that does not exist, or has no address, is known not to; anything else may be answered another time. */
function failureOf(name: string, failures: readonly unknown[]): ResolveError {
  const isKnown = failures.some((error) =>
    ['ENOTFOUND', 'ENODATA'].includes(String((error as { code?: unknown }).code)),
  )
  return new ResolveError(isKnown ? 'ENOTFOUND' : 'EAI_AGAIN', name, { cause: failures[0] })
}

/** The addresses by name in a file as hosts(5) has it; read again when it has changed. */
function createHosts(file: string): () => Promise<ReadonlyMap<string, readonly LookupAddress[]>> {
  let hosts = new Map<string, LookupAddress[]>()
  let changedMs = Number.NaN
  let lookedMs = Number.NEGATIVE_INFINITY
  return async () => {
    if (performance.now() - lookedMs < HOSTS_FOR_MS) return hosts
    lookedMs = performance.now()
    const found = await stat(file).catch(() => null)
    if (found === null || found.mtimeMs === changedMs) return hosts
    changedMs = found.mtimeMs
    hosts = readHosts(await readFile(file, 'utf8').catch(() => ''))
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
