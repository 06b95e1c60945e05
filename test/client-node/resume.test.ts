// What is asked for next, and which answers are accepted: bytes are joined only if they certainly belong together.
import { describe, expect, it } from 'vitest'
import { judge, type Position, readRetryAfter, requestHeaders, START } from '../../client-node/resume.ts'

const FOREVER = 9007199254740991
const ETAG = '"id.1"'
const cut: Position = { receivedBytes: 100, etag: ETAG, totalBytes: null }
const cutOfSealed: Position = { ...cut, totalBytes: 300 }

describe('a request', () => {
  it.each<[string, Position, Record<string, string>]>([
    ['asks for everything at first', START, {}],
    ['asks for everything where nothing has come', { ...cut, receivedBytes: 0 }, {}],
    ['asks for everything without a strong validator', { ...cut, etag: null }, {}],
    ['asks for what follows in a growing archive', cut, { range: `bytes=100-${FOREVER}`, 'if-range': ETAG }],
    ['asks for the rest of a sealed archive', cutOfSealed, { range: 'bytes=100-', 'if-range': ETAG }],
  ])('%s', (_, position, headers) => {
    expect(requestHeaders(position)).toEqual(headers)
  })
})

describe('an answer', () => {
  const part = (range: string, more: Record<string, string> = {}) => ({ 'content-range': range, etag: ETAG, ...more })

  it('proves its end if it has a length or comes in chunks, but not if it ends with its connection', () => {
    const body = { kind: 'body', startsOver: false }
    const at = { receivedBytes: 0, etag: ETAG }
    expect(judge(START, 200, { etag: ETAG, 'content-length': '300' }, 0)).toEqual({
      ...body,
      position: { ...at, totalBytes: 300 },
      endProven: true,
    })
    const grows = { ...body, position: { ...at, totalBytes: null } }
    expect(judge(START, 200, { etag: ETAG, 'transfer-encoding': 'chunked' }, 0)).toEqual({ ...grows, endProven: true })
    expect(judge(START, 200, { etag: ETAG }, 0)).toEqual({ ...grows, endProven: false })
  })

  it('with a weak validator can never be continued', () => {
    expect(judge(START, 200, { etag: 'W/"id.1"' }, 0)).toMatchObject({ position: { etag: null } })
  })

  it('of 200 to a request for a part starts again at the beginning', () => {
    expect(judge(cut, 200, { etag: '"id.2"' }, 0)).toMatchObject({
      kind: 'body',
      startsOver: true,
      position: { receivedBytes: 0, etag: '"id.2"' },
    })
  })

  it.each<[string, Position, Record<string, string>, number | null]>([
    ['goes on while the archive grows', cut, part(`bytes 100-${FOREVER}/*`), null],
    ['goes on once it has been sealed', cut, part('bytes 100-299/300'), 300],
    ['goes on in a sealed archive', cutOfSealed, part('bytes 100-299/300'), 300],
    ['may be a part of the part', cutOfSealed, part('bytes 100-199/300'), 300],
  ])('of 206 %s', (_, position, headers, totalBytes) => {
    expect(judge(position, 206, headers, 0)).toMatchObject({
      kind: 'body',
      startsOver: false,
      position: { receivedBytes: 100, totalBytes },
    })
  })

  it.each<[string, Position, Record<string, string>]>([
    ['nothing was asked for', START, part('bytes 0-299/300')],
    ['it begins before', cut, part('bytes 99-299/300')],
    ['it begins after', cut, part('bytes 101-299/300')],
    ['it ends before it begins', cut, part('bytes 100-99/300')],
    ['it ends after the end', cut, part('bytes 100-300/300')],
    ['it is cut and of unknown total', cut, part('bytes 100-199/*')],
    ['the total is another', cutOfSealed, part('bytes 100-300/301')],
    ['the ETag is another', cut, part('bytes 100-299/300', { etag: '"id.2"' })],
    ['the ETag is weak', cut, part('bytes 100-299/300', { etag: 'W/"id.1"' })],
    ['there is no ETag', cut, { 'content-range': 'bytes 100-299/300' }],
    ['there is no range', cut, { etag: ETAG }],
    ['it has many ranges', cut, part('', { 'content-type': 'multipart/byteranges; boundary=x' })],
  ])('of 206 is dropped with all earlier bytes if %s', (_, position, headers) => {
    expect(judge(position, 206, headers, 0)).toMatchObject({ kind: 'again', position: START })
  })

  it('of 416 means that nothing is missing, or that everything must be asked for again', () => {
    expect(judge(cut, 416, { 'content-range': 'bytes */100' }, 0)).toEqual({ kind: 'whole' })
    expect(judge(cut, 416, { 'content-range': 'bytes */99' }, 0)).toMatchObject({ kind: 'again', position: START })
    expect(judge(cut, 416, part('bytes */100', { etag: '"id.2"' }), 0)).toMatchObject({
      kind: 'again',
      position: START,
    })
    expect(judge(cut, 416, {}, 0)).toMatchObject({ kind: 'again', position: START })
  })

  it.each([
    [404, { kind: 'refused', missing: true }],
    [410, { kind: 'refused', missing: true }],
    [301, { kind: 'refused', missing: false }],
    [204, { kind: 'refused', missing: false }],
    [403, { kind: 'refused', missing: false }],
    [412, { kind: 'refused', missing: false }],
    [408, { kind: 'again', position: cut }],
    [425, { kind: 'again', position: cut }],
    [429, { kind: 'again', position: cut }],
    [500, { kind: 'again', position: cut }],
    [503, { kind: 'again', position: cut }],
  ])('of %d is %j', (code, verdict) => {
    expect(judge(cut, code, {}, 0)).toMatchObject(verdict)
  })
})

describe('Retry-After', () => {
  const now = Date.parse('2026-01-01T00:00:00Z')
  it.each([
    [undefined, 0],
    ['7', 7000],
    ['0', 0],
    ['-7', 0],
    ['soon', 0],
    ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
    ['Wed, 31 Dec 2025 23:59:30 GMT', 0],
  ])('of %s asks for %d ms', (text, ms) => {
    expect(readRetryAfter(text, now)).toBe(ms)
  })
})
