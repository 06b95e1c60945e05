// Serves the built page from memory, as it is small, under a strict policy. A client that does not read holds no file.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join, relative, sep } from 'node:path'
import mime from 'mime'
import { ifNoneMatchHits } from './range.ts'
import { pathOf } from './target.ts'

const policy = [
  "default-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "object-src 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

export type Pages = (req: IncomingMessage, res: ServerResponse, next: () => void) => void

interface Page {
  readonly body: Buffer
  readonly headers: Readonly<Record<string, string>>
}

/** Reads the files once, so later changes to them are not served. */
export function createPages(directory: string): Pages {
  if (!existsSync(directory)) {
    return (_req, res) => {
      res.writeHead(503, { 'content-type': 'text/plain; charset=utf-8' })
      res.end('The page is not built: "npm start" does that. The API under /trpc works without it.\n')
    }
  }
  const pages = readPages(directory)
  return (req, res, next) => {
    const page = pages.get(pathOf(req))
    if (page === undefined || (req.method !== 'GET' && req.method !== 'HEAD')) return next()
    const { body, headers } = page
    if (ifNoneMatchHits(req.headers['if-none-match'], headers.etag!)) {
      const { 'content-length': _, ...kept } = headers
      res.writeHead(304, kept).end()
      return
    }
    res.writeHead(200, headers).end(req.method === 'HEAD' ? undefined : body)
  }
}

function readPages(directory: string): Map<string, Page> {
  const pages = new Map<string, Page>()
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = join(entry.parentPath, entry.name)
    const path = `/${relative(directory, file).split(sep).join('/')}`
    pages.set(path, pageOf(path, readFileSync(file)))
  }
  const index = pages.get('/index.html')
  if (index !== undefined) pages.set('/', index)
  return pages
}

function pageOf(path: string, body: Buffer): Page {
  const type = mime.getType(path) ?? 'application/octet-stream'
  return {
    body,
    headers: {
      'content-type': type.startsWith('text/') ? `${type}; charset=utf-8` : type,
      'content-length': String(body.length),
      etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
      'content-security-policy': policy,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      // File names under assets/ carry a hash of their content.
      'cache-control': path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
    },
  }
}
