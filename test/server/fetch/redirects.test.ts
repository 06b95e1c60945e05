// Where redirects lead, over real sockets: to the very bytes that an origin sent, and as often as is allowed.
import { describe, it } from 'vitest'
import * as behave from '../../support/behaviours.ts'
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
