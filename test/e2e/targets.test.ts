// The real server gets a stranger's list in a network in which every address answers. Checks what it dials, and what its
// requests contain.
import { beforeAll, describe, expect, it } from 'vitest'
import { entryFailures } from '#contracts/failures.ts'
import * as hostile from '../support/hostile-targets.ts'
import { type Played, type Plays, playTargets } from './targets-stage.ts'

const { hostileTargets, NAMES, PUBLIC_V4, PUBLIC_V6, PUBLIC_NAT64, INSIDE_PORT } = hostile

let guarded: Played
let unguarded: Played
beforeAll(async () => {
  const plays: Plays = await playTargets()
  guarded = plays.guarded
  unguarded = plays.unguarded
}, 120_000)

const groups = Object.entries({
  addresses: hostile.addresses,
  ports: hostile.ports,
  notations: hostile.notations,
  names: hostile.names,
  redirects: hostile.redirects,
  'open and closed ones': hostile.openAndClosed,
  'plain ones': hostile.plain,
})

/** Shows a URL in ASCII, and for a redirect its destination. */
function shown(url: string): string {
  const [, status, location = ''] = /\/redirect\/(\d+)\/([\w-]+)$/.exec(url) ?? []
  if (status === undefined) return JSON.stringify(url)
  return `a ${status} to ${shown(Buffer.from(location, 'base64url').toString('latin1'))}`
}

describe.each(groups)('of %s', (_, targets) => {
  it.each(targets.map((target) => [shown(target.url), target.verdict, target] as const))('%s: %s', (_, __, target) => {
    const index = hostileTargets.indexOf(target)
    const { url, verdict, attempts = verdict === 'BAD_URL' ? 0 : 1 } = target
    const failure = guarded.failures[index]
    if (verdict === 'sealed') {
      expect(failure).toBeNull()
      return
    }
    // This is everything that a client learns. None of it depends on what listens at an address that was not dialled.
    expect(failure).toEqual({
      type: 'file-failed',
      index,
      url,
      name: expect.any(String),
      code: verdict,
      message: entryFailures[verdict].publicMessage,
      retryable: entryFailures[verdict].retryable,
      attempts,
      httpStatus: null,
    })
  })
})

describe('the way out', () => {
  it('leads to the public server alone, as the process dials and as connections arrive', () => {
    const open = [`${PUBLIC_V4} 80`, `${PUBLIC_V4} 8080`, `${PUBLIC_V6} 80`, `${PUBLIC_NAT64} 80`]
    expect(new Set(guarded.dials)).toEqual(new Set([...open, `${PUBLIC_V4} ${INSIDE_PORT}`]))
    expect(new Set(guarded.accepted)).toEqual(new Set(open))
    expect(guarded.end.type).toBe('complete')
    expect(guarded.dialsBefore.filter((dial) => !dial.startsWith('127.0.0.1 '))).toEqual([])
  })

  it('is the same for a plan, which sends HEAD requests', () => {
    // Scripted names give another answer each time, so they may have moved on by then. They are left out.
    const lasting = new Set([...hostile.addresses, ...hostile.ports, ...hostile.redirects, ...hostile.openAndClosed])
    const refused = hostileTargets.filter(
      (target, at) => lasting.has(target) && guarded.failures[at]?.code === 'FORBIDDEN_TARGET',
    )
    expect(refused.length).toBeGreaterThan(100)
    const planned = refused.map((target) => guarded.planned[hostileTargets.indexOf(target)])
    expect(planned).not.toContain(null)
    expect(planned.filter((code) => code === 'FORBIDDEN_TARGET').length).toBeGreaterThan(100)
  })

  it('is limited by the guard alone: if everything is allowed, every target is dialled and answers', () => {
    const after = hostileTargets.flatMap((target) => target.after ?? [])
    expect(after.length).toBeGreaterThan(150)
    expect(after.filter((target) => !unguarded.dials.includes(target))).toEqual([])
    // These cannot arrive under their own address: mapped ones, the wildcard, multicast and broadcast, link-local, a closed port.
    const elsewhere = /^(0\.0\.0\.0|224\.0\.0\.1|255\.255\.255\.255|::|::ffff:\w+:\w+|fe80::1|ff02::1|127\.0\.0\.3) /
    const silent = after.filter((target) => !unguarded.accepted.includes(target))
    expect(silent.filter((target) => !elsewhere.test(target))).toEqual([])
  })

  it('is closed for a name whose only other addresses are inside', () => {
    const closed = hostileTargets.find(({ url }) => url.startsWith('http://mixed-closed.test'))!
    expect(guarded.failures[hostileTargets.indexOf(closed)]).toMatchObject({ code: 'CONNECT_FAILED' })
    expect(unguarded.accepted).toContain(`${hostile.OPEN_INSIDE} ${INSIDE_PORT}`)
  })
})

describe('a request', () => {
  /** Splits a head into its first line and its header fields. */
  const read = (head: string) => {
    const [line = '', ...rest] = head.split('\r\n')
    return { line, headers: Object.fromEntries(rest.map((each) => each.split(': ', 2) as [string, string])) }
  }

  it('has the same five headers at every hop, and two more if it resumes a body', () => {
    const always = {
      host: expect.any(String),
      connection: 'keep-alive',
      'user-agent': expect.stringMatching(/^sheaf\/[\d.]+$/),
      accept: '*/*',
      'accept-encoding': 'identity',
    }
    const continued = { ...always, range: 'bytes=1000-', 'if-range': '"v1"' }
    expect(guarded.requests.length).toBeGreaterThan(70)
    let continuations = 0
    for (const { head } of guarded.requests) {
      const { line, headers } = read(head)
      expect(line).toMatch(/^GET \/[\x21-\x7e]* HTTP\/1\.1$/)
      expect(head.split('\r\n').length - 1).toBe(Object.keys(headers).length)
      if ('range' in headers) continuations += 1
      expect(headers).toEqual('range' in headers ? continued : always)
    }
    expect(continuations).toBe(1)
  })

  it('has the dialled address as its host, whatever redirected there', () => {
    for (const { to, head } of guarded.requests) {
      const [address = '', port = ''] = to.split(' ')
      const url = new URL(`http://${read(head).headers.host}`)
      const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
      expect(url.port || '80').toBe(port)
      expect(NAMES[host]?.flat() ?? [host]).toContain(address)
    }
    const hosts = new Set(guarded.requests.map(({ head }) => read(head).headers.host))
    expect(hosts).toEqual(new Set([...hosts, PUBLIC_V4, `[${PUBLIC_V6}]`, 'public.test', 'public.test:8080']))
  })
})
