// The page: its files with their types and policy, conditional requests, and nothing else from the disk.
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createPages } from '../../../server/http/pages.ts'
import { ask } from '../../support/ask.ts'
import { tempDirectory } from '../../support/temp.ts'

let server: Server
let url: string
let directory: string

beforeEach(async () => {
  const temporary = await tempDirectory()
  directory = join(temporary.path, 'dist')
  await mkdir(join(directory, 'assets'), { recursive: true })
  await writeFile(join(temporary.path, 'secret.txt'), 'secret')
  await writeFile(join(directory, 'index.html'), '<!doctype html>page')
  await writeFile(join(directory, 'assets', 'index-1.js'), 'code')
  await writeFile(join(directory, 'assets', 'sheaf.svg'), '<svg/>')
  const pages = createPages(directory)
  server = createServer((req, res) => pages(req, res, () => res.writeHead(404).end()))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return () => temporary[Symbol.asyncDispose]()
})

afterEach(() => server.close())

describe('the page', () => {
  it.each([
    ['/', 'text/html; charset=utf-8', '<!doctype html>page', /no-cache/],
    ['/?x', 'text/html; charset=utf-8', '<!doctype html>page', /no-cache/],
    ['/index.html', 'text/html; charset=utf-8', '<!doctype html>page', /no-cache/],
    ['/assets/index-1.js', 'text/javascript; charset=utf-8', 'code', /immutable/],
    ['/assets/sheaf.svg', 'image/svg+xml', '<svg/>', /immutable/],
  ])('has %s', async (path, type, body, caching) => {
    const answer = await ask(url + path)
    expect([answer.status, answer.body.toString()]).toEqual([200, body])
    expect(answer.headers).toMatchObject({
      'content-type': type,
      'content-length': String(body.length),
      'cache-control': expect.stringMatching(caching),
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringContaining("default-src 'self'"),
    })
    const head = await ask(url + path, { method: 'HEAD' })
    expect([head.status, head.headers['content-length'], head.body.length]).toEqual([200, String(body.length), 0])
    const etag = answer.headers.etag!
    const again = await ask(url + path, { headers: { 'if-none-match': etag } })
    expect([again.status, again.body.length, again.headers.etag]).toEqual([304, 0, etag])
    expect((await ask(url + path, { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
  })

  it.each(['/secret.txt', '/../secret.txt', '/..%2fsecret.txt', '/assets', '/assets/', '/%', '//index.html', '/index'])(
    'has no %s',
    async (path) => {
      expect((await ask(url + path)).status).toBe(404)
    },
  )

  it('can only be read, and stays the same while its files change', async () => {
    expect((await ask(url, { method: 'POST', body: 'x' })).status).toBe(404)
    await rm(directory, { recursive: true })
    expect((await ask(url)).body.toString()).toBe('<!doctype html>page')
  })
})

it('reports if the page is not built', async () => {
  const pages = createPages(join(directory, 'nowhere'))
  const other = createServer((req, res) => pages(req, res, () => res.end()))
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as AddressInfo
  expect((await ask(`http://127.0.0.1:${port}/`)).status).toBe(503)
  other.close()
})
