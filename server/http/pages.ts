// Serves the built page. Everything it needs comes from this server, and its policy says so.
import { existsSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import sirv from 'sirv'

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

export function createPages(directory: string): Pages {
  if (!existsSync(directory)) {
    return (_req, res) => {
      res.writeHead(503, { 'content-type': 'text/plain; charset=utf-8' })
      res.end('The page is not built: "npm start" does that. The API under /trpc works without it.\n')
    }
  }
  return sirv(directory, {
    etag: true,
    setHeaders(res, pathname) {
      res.setHeader('content-security-policy', policy)
      res.setHeader('x-content-type-options', 'nosniff')
      res.setHeader('referrer-policy', 'no-referrer')
      // File names under assets/ carry a hash of their content.
      res.setHeader(
        'cache-control',
        pathname.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
      )
    },
  })
}
