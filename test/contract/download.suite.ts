// Downloads by href: whole, in ranges, under conditions, and while the archive grows.
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import type { AcceptedEvent } from '#contracts/events.ts'
import { ask, converse, open } from '../support/ask.ts'
import { bodyOf, gate, stallAfter, status } from '../support/behaviours.ts'
import { tempDirectory } from '../support/temp.ts'
import { readTar, readZip, verifyZip } from '../support/unpack.ts'
import { until } from '../support/wait.ts'
import { client, collect, type Deployment, uniquePath } from './deployment.ts'

type Manifest = Omit<Parameters<ReturnType<typeof client>['createArchive']>[0], 'archiveKey'>

/** The last position with which a client asks to follow a growing archive (RFC 8673). */
const FOLLOW = 9007199254740991

export function downloadSuite(deployment: () => Deployment): void {
  async function build(manifest: Manifest) {
    const { url } = deployment()
    await using server = client(url)
    for await (const event of server.createArchive({ archiveKey: newArchiveKey(), ...manifest })) {
      if (event.type === 'complete') return { ...event, url: url + event.href }
    }
    throw new Error('the archive did not become complete')
  }
  const bytesUrl = (size: number, seed: string) => `${deployment().origin.url}/bytes/${size}/${seed}`

  /** Starts an archive whose second entry waits at a gate, so that only the first one can be read. */
  async function buildHalf(format: 'zip' | 'tar' = 'zip') {
    const { url, origin } = deployment()
    const server = client(url)
    const held = gate(async (exchange) => {
      await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast')
    })
    const archiveKey = newArchiveKey()
    const path = uniquePath(origin, 'held')
    const first = `${origin.url}/bytes/50000/first`
    const entries = [first, { url: origin.serve(path, held.behaviour), name: 'last.txt' }]
    const accepted: AcceptedEvent = await server.trpc.submitArchive.mutate({ archiveKey, entries, format })
    const watching = collect(server.watchArchive(archiveKey))
    watching.catch(() => {})
    await held.waitFor(1)
    return {
      accepted,
      url: url + accepted.href,
      etag: (await ask(url + accepted.href, { method: 'HEAD' })).headers.etag!,
      held,
      cancel: () => server.cancelArchive(archiveKey),
      /** Opens the gate, and resolves to the `complete` event. */
      async finish() {
        held.open()
        const last = (await watching).at(-1)!
        if (last.type !== 'complete') throw new Error(`ended as ${last.type}`)
        return last
      },
      async [Symbol.asyncDispose]() {
        held.open()
        await watching.catch(() => {})
        await server.close()
      },
    }
  }

  describe('a complete archive', () => {
    it('is a sound zip of its sources in the order of the manifest', async () => {
      const entries = [bytesUrl(1000, 'a.bin'), { url: bytesUrl(0, 'b'), name: 'empty' }, bytesUrl(3_000_000, 'c.bin')]
      const { url, sizeBytes, etag } = await build({ entries })
      const { status, headers, body, whole } = await ask(url)
      expect([status, whole, body.length]).toEqual([200, true, sizeBytes])
      expect(headers).toMatchObject({
        'content-type': 'application/zip',
        'content-length': String(sizeBytes),
        'accept-ranges': 'bytes',
        'x-content-type-options': 'nosniff',
        'content-disposition': 'attachment; filename=archive.zip',
        etag,
      })
      expect(headers['content-security-policy']).toMatch(/default-src 'none'.*sandbox/)
      expect(headers['cache-control']).toMatch(/private/)
      await using temp = await tempDirectory()
      const path = join(temp.path, 'archive.zip')
      await writeFile(path, body)
      await verifyZip(path)
      const members = await readZip(path)
      expect(members.map(({ name }) => name)).toEqual(['a.bin', 'empty', 'c.bin'])
      expect(members[0]!.body.equals(bodyOf(1000, 'a'))).toBe(true)
      expect(members[2]!.body.equals(bodyOf(3_000_000, 'c'))).toBe(true)
    })

    it.each(['tar', 'tar.gz'] as const)('is a sound %s of its sources', async (format) => {
      const { url, sizeBytes } = await build({
        entries: [bytesUrl(1000, 'a.bin'), bytesUrl(2_500_000, 'b.bin')],
        format,
      })
      const { body, headers } = await ask(url)
      expect(body.length).toBe(sizeBytes)
      expect(headers['content-disposition']).toBe(`attachment; filename=archive.${format}`)
      await using temp = await tempDirectory()
      const path = join(temp.path, `archive.${format}`)
      await writeFile(path, body)
      const members = await readTar(path)
      expect(members.map(({ name }) => name)).toEqual(['a.bin', 'b.bin'])
      expect(members[1]!.body.equals(bodyOf(2_500_000, 'b'))).toBe(true)
    })

    it('has the same bytes each time it is made from the same sources', async () => {
      const entries = [bytesUrl(1000, 'a.bin'), bytesUrl(70_000, 'b.bin')]
      const [one, other] = await Promise.all([build({ entries }), build({ entries })])
      expect(one.etag).not.toBe(other.etag)
      expect((await ask(one.url)).body.equals((await ask(other.url)).body)).toBe(true)
    })

    it('has the SHA-256 of all its bytes in the event and as Repr-Digest, if that is asked for', async () => {
      const { url, sha256 } = await build({ entries: [bytesUrl(70_000, 'a')], checksum: 'sha-256', format: 'tar' })
      const { body, headers } = await ask(url)
      expect(createHash('sha256').update(body).digest('hex')).toBe(sha256)
      const digest = `sha-256=:${Buffer.from(sha256!, 'hex').toString('base64')}:`
      expect(headers['repr-digest']).toBe(digest)
      expect((await ask(url, { headers: { range: 'bytes=1-2' } })).headers['repr-digest']).toBe(digest)
      const plain = await build({ entries: [bytesUrl(10, 'a')] })
      expect([plain.sha256, (await ask(plain.url)).headers['repr-digest']]).toEqual([null, undefined])
    })

    it('has deflated entries and a report inside, if that is asked for', async () => {
      const { origin } = deployment()
      const text = 'the same line again\n'.repeat(5_000)
      const page = origin.serve(uniquePath(origin, 'page.txt'), status(200, { 'content-type': 'text/plain' }, text))
      const { url, sizeBytes, sealedEntries } = await build({
        entries: [{ url: page, name: 'page.txt' }, bytesUrl(1000, 'a.bin')],
        compression: 'auto',
        report: true,
      })
      await using directory = await tempDirectory()
      const path = join(directory.path, 'archive.zip')
      await writeFile(path, (await ask(url)).body)
      await verifyZip(path)
      const members = await readZip(path)
      expect(members.map(({ name }) => name)).toEqual(['page.txt', 'a.bin', 'sheaf-report.json'])
      expect(members[0]!.body.toString()).toBe(text)
      expect([sealedEntries, sizeBytes < 4_000]).toEqual([2, true])
      expect(JSON.parse(members[2]!.body.toString()).entries).toHaveLength(2)
    })

    it('answers HEAD like GET, without the bytes', async () => {
      const { url, sizeBytes, etag } = await build({ entries: [bytesUrl(1000, 'a')] })
      const { status, headers, body, whole } = await ask(url, { method: 'HEAD' })
      expect([status, body.length, whole]).toEqual([200, 0, true])
      expect(headers).toMatchObject({ 'content-length': String(sizeBytes), etag })
      // RFC 9110 section 14.2 defines Range for GET only.
      const ranged = await ask(url, { method: 'HEAD', headers: { range: 'bytes=0-1' } })
      expect([ranged.status, ranged.headers['content-length']]).toEqual([200, String(sizeBytes)])
    })

    it('refuses other methods', async () => {
      const { url } = await build({ entries: [bytesUrl(10, 'a')] })
      const { status, headers } = await ask(url, { method: 'POST' })
      expect([status, headers.allow]).toEqual([405, 'GET, HEAD'])
    })

    it('answers ranges as a file server does', async () => {
      const { url, sizeBytes: size } = await build({ entries: [bytesUrl(300_000, 'a')] })
      const all = (await ask(url)).body
      const cases: [string, number, number][] = [
        ['bytes=0-0', 0, 0],
        ['bytes=0-999', 0, 999],
        ['bytes=262144-262145', 262_144, 262_145],
        ['bytes=100-', 100, size - 1],
        [`bytes=${size - 1}-`, size - 1, size - 1],
        ['bytes=-1', size - 1, size - 1],
        [`bytes=-${size + 5}`, 0, size - 1],
        [`bytes=10-${size + 100}`, 10, size - 1],
        [`bytes=10-${FOLLOW}`, 10, size - 1],
      ]
      for (const [range, first, last] of cases) {
        const { status, headers, body, whole } = await ask(url, { headers: { range } })
        expect([range, status, headers['content-range']]).toEqual([range, 206, `bytes ${first}-${last}/${size}`])
        expect(headers['content-length']).toBe(String(last - first + 1))
        expect([whole, body.equals(all.subarray(first, last + 1))]).toEqual([true, true])
      }
      for (const range of ['bytes=0-1,5-6', 'bytes=5-4', 'bytes=-', 'bytes=x-', 'lines=0-1', 'bytes 0-1']) {
        const { status, headers, body } = await ask(url, { headers: { range } })
        expect([range, status, headers['content-range']]).toEqual([range, 200, undefined])
        expect(body.equals(all)).toBe(true)
      }
      for (const range of [`bytes=${size}-`, `bytes=${size + 1}-${size + 2}`, 'bytes=-0', `bytes=${size}-${FOLLOW}`]) {
        const { status, headers, body } = await ask(url, { headers: { range } })
        expect([range, status, headers['content-range'], body.length]).toEqual([range, 416, `bytes */${size}`, 0])
      }
    })

    it('honours conditional requests', async () => {
      const { url, etag, sizeBytes: size } = await build({ entries: [bytesUrl(1000, 'a')] })
      const status = async (headers: Record<string, string>) => {
        const answer = await ask(url, { headers })
        return [answer.status, answer.body.length]
      }
      expect(await status({ range: 'bytes=0-9', 'if-range': etag })).toEqual([206, 10])
      expect(await status({ range: 'bytes=0-9', 'if-range': '"other"' })).toEqual([200, size])
      expect(await status({ range: 'bytes=0-9', 'if-range': `W/${etag}` })).toEqual([200, size])
      expect(await status({ range: 'bytes=0-9', 'if-range': new Date().toUTCString() })).toEqual([200, size])
      expect(await status({ 'if-none-match': etag })).toEqual([304, 0])
      expect(await status({ 'if-none-match': `"x", W/${etag}` })).toEqual([304, 0])
      expect(await status({ 'if-none-match': '*' })).toEqual([304, 0])
      expect(await status({ 'if-none-match': '"x"' })).toEqual([200, size])
      expect(await status({ 'if-match': etag })).toEqual([200, size])
      expect(await status({ 'if-match': '*' })).toEqual([200, size])
      expect(await status({ 'if-match': '"x"' })).toEqual([412, 0])
      expect(await status({ 'if-match': `W/${etag}` })).toEqual([412, 0])
      expect(await status({ 'if-match': etag, range: 'bytes=1-1' })).toEqual([206, 1])
      expect((await ask(url, { headers: { 'if-none-match': etag } })).headers.etag).toBe(etag)
    })

    it('may have any characters in its name, and its headers stay valid', async () => {
      const cases = [
        'Grüße "für" dich',
        '日本語\u{1f33e}',
        'a; filename=evil.exe',
        'line\r\nbreak: x',
        '../../etc/passwd',
      ]
      for (const name of cases) {
        const { url } = await build({ entries: [bytesUrl(1, 'a')], name })
        const { status, headers } = await ask(url)
        const disposition = headers['content-disposition']!
        expect([name, status, headers.break]).toEqual([name, 200, undefined])
        expect(disposition).toMatch(
          /^attachment; filename=("(\\.|[^"\\])*"|[\w.-]+)(; filename\*=UTF-8''[\w%!#$&+.^`|~-]+)?$/,
        )
        expect(disposition).not.toMatch(/[^\x20-\x7e\x80-\xff]|[/\\](?!")/)
      }
      const { url } = await build({ entries: [bytesUrl(1, 'a')], name: 'Grüße' })
      expect((await ask(url)).headers['content-disposition']).toContain("filename*=UTF-8''Gr%C3%BC%C3%9Fe.zip")
    })
  })

  it('gives the same 404 for unknown ids and for what is not an id', async () => {
    const { url } = deployment()
    const answers = await Promise.all(
      ['AAAAAAAAAAAAAAAAAAAAAA/archive.zip', 'short/archive.zip', 'AAAAAAAAAAAAAAAAAAAAAA', 'a/b/c'].map((path) =>
        ask(`${url}/archives/${path}`),
      ),
    )
    for (const { status, body, headers } of answers) {
      expect([status, body.toString()]).toEqual([404, 'no such archive\n'])
      expect(headers['content-type']).toMatch(/^text\/plain/)
    }
  })

  describe('an archive that grows', () => {
    it('is sent as far as it is readable, and then followed to its end', async () => {
      await using half = await buildHalf()
      const coming = await open(half.url)
      expect([coming.status, coming.headers['content-length']]).toEqual([200, undefined])
      expect(coming.headers.etag).toBe(half.etag)
      await coming.has(50_000)
      const { sizeBytes, etag } = await half.finish()
      const { body, whole } = await coming.ended
      expect([body.length, whole, coming.headers.etag]).toEqual([sizeBytes, true, etag])
      expect(body.equals((await ask(half.url)).body)).toBe(true)
    })

    it('answers a range without an end with the whole, because its last position is not known', async () => {
      await using half = await buildHalf()
      const asked = ['bytes=10-', 'bytes=-10', 'bytes=10-20', 'bytes=0-0,5-5']
      const coming = await Promise.all(asked.map((range) => open(half.url, { headers: { range } })))
      for (const { status, headers } of coming) expect([status, headers['content-range']]).toEqual([200, undefined])
      await half.finish()
      const { body } = await ask(half.url)
      for (const { ended } of coming) expect((await ended).body.equals(body)).toBe(true)
    })

    it('can be continued by a client that asks to follow (RFC 8673)', async () => {
      await using half = await buildHalf()
      const headers = { range: `bytes=40000-${FOLLOW}`, 'if-range': half.etag }
      const coming = await open(half.url, { headers })
      expect([coming.status, coming.headers['content-range']]).toEqual([206, `bytes 40000-${FOLLOW}/*`])
      expect(coming.headers['content-length']).toBeUndefined()
      await coming.has(10_000)
      const other = await open(half.url, { headers: { ...headers, 'if-range': '"other"' } })
      expect(other.status).toBe(200)
      await half.finish()
      const { body, whole } = await coming.ended
      const all = (await ask(half.url)).body
      expect([whole, body.equals(all.subarray(40_000))]).toEqual([true, true])
      expect((await other.ended).body.equals(all)).toBe(true)
    })

    it('answers HEAD at once', async () => {
      await using half = await buildHalf()
      const { status, headers, whole } = await ask(half.url, { method: 'HEAD' })
      expect([status, headers['content-length'], whole]).toEqual([200, undefined, true])
    })

    it('waits until it is complete for HTTP/1.0, in which a broken body cannot be recognised', async () => {
      await using half = await buildHalf()
      const { pathname, host } = new URL(half.url)
      const old = converse(half.url, `GET ${pathname} HTTP/1.0\r\nHost: ${host}\r\n\r\n`)
      const young = await open(half.url)
      await young.has(50_000)
      expect(old.received.length).toBe(0)
      const { sizeBytes } = await half.finish()
      await old.closed
      const text = old.received.toString('latin1')
      expect(text).toMatch(/^HTTP\/1\.[01] 200 /)
      expect(text.toLowerCase()).toContain(`content-length: ${sizeBytes}\r\n`)
      expect(old.received.subarray(text.indexOf('\r\n\r\n') + 4).equals((await young.ended).body)).toBe(true)
    })

    it('sends nothing to HTTP/1.0 if the build is cancelled', async () => {
      await using half = await buildHalf()
      const { pathname, host } = new URL(half.url)
      const old = converse(half.url, `GET ${pathname} HTTP/1.0\r\nHost: ${host}\r\n\r\n`)
      const young = await open(half.url)
      await young.has(1)
      await half.cancel()
      await old.closed
      expect(old.received.toString('latin1')).not.toMatch(/^HTTP\/1\.[01] 200 /)
      young.leave()
    })

    it('waits until a tar is complete, because it is packed at the end', async () => {
      await using half = await buildHalf('tar')
      const coming = open(half.url)
      const { sizeBytes } = await half.finish()
      const { status, headers } = await coming
      expect([status, headers['content-length']]).toEqual([200, String(sizeBytes)])
      expect((await (await coming).ended).body.length).toBe(sizeBytes)
    })

    it('never ends a body cleanly if the build is cancelled', async () => {
      await using half = await buildHalf()
      const plain = await open(half.url)
      const ranged = await open(half.url, { headers: { range: `bytes=1-${FOLLOW}` } })
      await plain.has(50_000)
      await ranged.has(49_999)
      await half.cancel()
      expect([(await plain.ended).whole, (await ranged.ended).whole]).toEqual([false, false])
      expect((await ask(half.url)).status).toBe(404)
    })

    it('contains no byte of an entry that is not whole', async () => {
      const { url, origin } = deployment()
      await using server = client(url)
      const path = uniquePath(origin, 'stalled')
      const stalled = origin.serve(path, stallAfter(100_000, { body: bodyOf(200_000, 'stalled') }))
      const archiveKey = newArchiveKey()
      const { href } = await server.trpc.submitArchive.mutate({ archiveKey, entries: [bytesUrl(10, 'a'), stalled] })
      const coming = await open(url + href)
      await coming.has(10)
      let active = 0
      for await (const event of server.watchArchive(archiveKey)) {
        if (event.type === 'progress') active = event.active[0]?.receivedBytes ?? 0
        if (active >= 100_000) break
      }
      expect(coming.received.length).toBeLessThan(200)
      await server.cancelArchive(archiveKey)
      expect((await coming.ended).whole).toBe(false)
    })

    it('does not wait for a client that has left', async () => {
      await using half = await buildHalf()
      const coming = await open(half.url)
      await coming.has(1)
      coming.leave()
      expect((await coming.ended).whole).toBe(false)
      const { sizeBytes } = await half.finish()
      await until(async () => (await ask(half.url)).body.length === sizeBytes, { what: 'the whole archive' })
    })
  })
}
