// Where redirects lead, over real sockets: to the very bytes that an origin sent, and as often as is allowed.
import { describe, it } from 'vitest'
import * as behave from '../../support/behaviours.ts'
import type { Behaviour } from '../../support/exchange.ts'
import { type FetchingOptions, startFetching } from '../../support/fetching.ts'
import { startH2Origin } from '../../support/h2-origin.ts'
import { bodyOf, startOrigin } from '../../support/origin.ts'

const body = bodyOf(10_000, 'redirected')
/** Text as an HTTP parser hands it over: one character for each byte of UTF-8. */
const bytesOf = (text: string) => Buffer.from(text).toString('latin1')

describe.concurrent('a redirect to bytes beyond ASCII', () => {
  const rows: [what: string, location: string, path: string][] = [
    ['UTF-8', bytesOf('/datei/안녕 ä.txt'), '/datei/%EC%95%88%EB%85%95%20%C3%A4.txt'],
    ['UTF-8 in a query', bytesOf('/datei?name=안녕 ä&x=%C3%A4'), '/datei?name=%EC%95%88%EB%85%95%20%C3%A4&x=%C3%A4'],
    ['Latin-1', '/datei/\xe4 b?\xfc', '/datei/%E4%20b?%FC'],
    ['escapes', '/datei/%EC%95%88%20b?x=%2F', '/datei/%EC%95%88%20b?x=%2F'],
  ]

  it.for(rows)('asks for what the origin named: %s', async ([, location, path], { expect }) => {
    for (const pooledSockets of [true, false]) {
      await using origin = await startOrigin()
      await using fetching = startFetching({ pooledSockets })
      // Only this path has the file; every other one is a 404.
      origin.serve(path, behave.bytes(body))
      const fetched = await fetching.fetch(origin.serve('/from', behave.redirect(location)))
      expect(fetched.outcome).toMatchObject({ ok: true, finalUrl: new URL(origin.url + path) })
      expect(origin.requests.map((request) => request.path)).toEqual(['/from', path])
    }
  })

  it.for(rows)('asks for it over HTTP/2, too: %s', async ([, location, path], { expect }) => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca] })
    origin.serve(path, (stream) => {
      stream.respond({ ':status': 200 })
      stream.end(body)
    })
    const from = origin.serve('/from', (stream) => {
      stream.respond({ ':status': 302, location }, { endStream: true })
    })
    const fetched = await fetching.fetch(from)
    expect([fetched.outcome.ok, origin.requests]).toEqual([true, ['2.0 /from', `2.0 ${path}`]])
  })

  it('asks a host that is named so, too', async ({ expect }) => {
    await using origin = await startOrigin()
    const asked: string[] = []
    const resolve: NonNullable<FetchingOptions['resolve']> = (hostname, _options, callback) => {
      asked.push(hostname)
      callback(null, [{ address: '127.0.0.1', family: 4 }])
    }
    await using fetching = startFetching({ resolve })
    const to = bytesOf(`//münchen.test:${origin.port}/bytes/9/x`)
    const fetched = await fetching.fetch(origin.serve('/from', behave.redirect(to)))
    expect([fetched.outcome.ok, asked]).toEqual([true, ['xn--mnchen-3ya.test']])
    const broken = await fetching.fetch(origin.serve('/broken', behave.redirect(`//m\xfcnchen.test:${origin.port}/`)))
    expect(broken.outcome).toMatchObject({ ok: false, code: 'FORBIDDEN_TARGET' })
    expect(asked).toHaveLength(1)
  })
})

describe.concurrent('a chain of twenty redirects', () => {
  it('is followed to its end, and each hop of it is judged', async ({ expect }) => {
    await using origin = await startOrigin()
    await using inside = await startOrigin({ host: '127.0.0.9' })
    await using fetching = startFetching({ allow: origin.address, limits: { maxRedirects: 20 } })
    for (let hop = 0; hop < 20; hop++) origin.serve(`/hop/${hop}`, behave.redirect(`/hop/${hop + 1}`))
    origin.serve('/hop/20', behave.bytes(body))
    const whole = await fetching.fetch(`${origin.url}/hop/0`)
    expect(whole.outcome).toMatchObject({ ok: true, attempts: 1 })
    for (const last of [1, 10, 20]) {
      origin.serve(`/hop/${last - 1}`, behave.redirect(`${inside.url}/bytes/1/x`))
      const led = await fetching.fetch(`${origin.url}/hop/0`)
      expect([last, led.outcome]).toMatchObject([last, { ok: false, code: 'FORBIDDEN_TARGET', attempts: 1 }])
      origin.serve(`/hop/${last - 1}`, behave.redirect(`/hop/${last}`))
    }
    expect(inside.requests).toEqual([])
  })
})

/** Redirects to itself until its cookie comes back, as gates of consent and of load balancers do. */
function untilCookie(cookie: string, fields: string | string[] = cookie): Behaviour {
  return (exchange) => {
    const { path, headers } = exchange.request
    if (headers.cookie?.split('; ').includes(cookie.split(';', 1)[0]!)) return behave.bytes(body)(exchange)
    return behave.status(302, { location: path, 'set-cookie': fields, 'content-length': '0' })(exchange)
  }
}

describe.concurrent('a redirect that sets a cookie', () => {
  it('gets it back, on the next hop and the ones after', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching()
    const fetched = await fetching.fetch(origin.serve('/gate', untilCookie('seen=1', ['a=b; Path=/', 'seen=1'])))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 1 })
    expect(origin.requests.map(({ headers }) => headers.cookie)).toEqual([undefined, 'a=b; seen=1'])
    origin.serve('/chain', behave.status(302, { location: '/chain/2', 'set-cookie': 'first=1; Path=/' }))
    origin.serve('/chain/2', behave.status(302, { location: '/chain/3', 'set-cookie': 'second=2' }))
    origin.serve('/chain/3', behave.status(302, { location: '/end', 'set-cookie': 'first=; Path=/; Max-Age=0' }))
    origin.serve('/end', behave.bytes(body))
    expect((await fetching.fetch(`${origin.url}/chain`)).outcome.ok).toBe(true)
    const sent = origin.requests.slice(2).map(({ headers }) => headers.cookie)
    expect(sent).toEqual([undefined, 'first=1', 'second=2; first=1', undefined])
  })

  it('gets it back over TLS alone, if it is meant so', async ({ expect }) => {
    await using origin = await startOrigin({ tls: 'trusted' })
    await using fetching = startFetching({ extraCa: [origin.ca!] })
    const gate = untilCookie('__Host-seen=1; Secure; Path=/')
    expect((await fetching.fetch(origin.serve('/gate', gate))).outcome.ok).toBe(true)
    await using plain = await startOrigin()
    const refused = await fetching.fetch(plain.serve('/gate', gate))
    expect(refused.outcome).toMatchObject({ ok: false, code: 'TOO_MANY_REDIRECTS' })
  })

  it('never gets it back from another host, another entry, or another attempt', async ({ expect }) => {
    await using origin = await startOrigin()
    await using other = await startOrigin({ host: '127.0.0.2' })
    await using fetching = startFetching({ maxFetchesPerOrigin: 1 })
    const setting = (location: string) => behave.status(302, { location, 'set-cookie': 'secret=1; Path=/' })
    other.serve('/back', behave.redirect(`${origin.url}/503`))
    origin.serve('/503', behave.sequence(behave.status(503), behave.bytes(body)))
    const fetched = await fetching.fetch(origin.serve('/from', setting(`${other.url}/back`)))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 2 })
    await fetching.fetch(`${origin.url}/bytes/1/x`)
    const cookies = origin.requests.map(({ path, headers }) => [path, headers.cookie])
    expect(cookies).toEqual([
      ['/from', undefined],
      ['/503', 'secret=1'],
      ['/from', undefined],
      ['/503', 'secret=1'],
      ['/bytes/1/x', undefined],
    ])
    expect(other.requests.map(({ headers }) => headers.cookie)).toEqual([undefined, undefined])
  })

  it('ends as any loop does, if the cookie is not enough', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching()
    let turns = 0
    const maze: Behaviour = (exchange) =>
      behave.status(302, { location: '/maze', 'set-cookie': `n${turns++}=${'x'.repeat(4_000)}` })(exchange)
    const { outcome } = await fetching.fetch(origin.serve('/maze', maze))
    expect(outcome).toMatchObject({ ok: false, code: 'TOO_MANY_REDIRECTS', attempts: 1 })
    const longest = Math.max(...origin.requests.map(({ headers }) => headers.cookie?.length ?? 0))
    expect(longest).toBeGreaterThan(12_000)
    expect(longest).toBeLessThanOrEqual(16 * 1024)
  })
})
