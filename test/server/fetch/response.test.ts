// What a response means by its status and headers alone: it is followed, taken, or refused.
import { describe, expect, it } from 'vitest'
import { type HeaderFields, judgeResponse, type ResponseVerdict } from '../../../server/fetch/response.ts'

const url = new URL('http://a.test/file.bin')
const received = { bytes: 100, validator: '"v1"', sizeBytes: 300 }
const MAX = 1_000

const judge = (status: number, headers: HeaderFields = {}, before: typeof received | null = null) =>
  judgeResponse(status, headers, { url, received: before, maxEntryBytes: MAX })

const unusable = (code: string) => ({ kind: 'unusable', code })
const failed = (code: string, retryAfter: string | null = null) => ({ kind: 'failed', code, retryAfter })
const body = (more: object = {}) => ({
  ...{ kind: 'body', codings: [], from: 0, sizeBytes: null, maxReceivedBytes: MAX, validator: null },
  ...more,
})
const part = (range: string, more: HeaderFields = {}) => ({ 'content-range': range, etag: '"v1"', ...more })

describe('a response', () => {
  it.each<[string, number, HeaderFields, object]>([
    ['301 with a location', 301, { location: '/b' }, { kind: 'follow', location: '/b' }],
    ['302 with two', 302, { location: ['/b', '/c'] }, { kind: 'follow', location: '/b' }],
    ['303', 303, { location: '/b' }, { kind: 'follow', location: '/b' }],
    ['307', 307, { location: '/b' }, { kind: 'follow', location: '/b' }],
    ['308', 308, { location: '/b' }, { kind: 'follow', location: '/b' }],
    ['300, which leaves the choice', 300, { location: '/b' }, failed('HTTP_STATUS')],
    ['304, which nobody asked for', 304, { location: '/b' }, failed('HTTP_STATUS')],
    ['305, which is no longer used', 305, { location: '/b' }, failed('HTTP_STATUS')],
    ['306, which is no longer used', 306, { location: '/b' }, failed('HTTP_STATUS')],
    ['301 without a location', 301, {}, failed('HTTP_STATUS')],
    ['200 without anything', 200, {}, body()],
    [
      '200 with a size and an ETag',
      200,
      { 'content-length': '9', etag: '"a"' },
      body({ sizeBytes: 9, validator: '"a"' }),
    ],
    ['203 of a proxy', 203, { 'content-length': '9' }, body({ sizeBytes: 9 })],
    ['200 with a weak ETag', 200, { etag: 'W/"a"' }, body()],
    ['200 with a size that is none', 200, { 'content-length': '-9' }, body()],
    ['201', 201, {}, body()],
    ['202', 202, {}, failed('HTTP_STATUS')],
    ['299, which nobody knows', 299, {}, body()],
    ['204', 204, {}, failed('HTTP_STATUS')],
    ['404', 404, {}, failed('HTTP_STATUS')],
    ['416 to a request without a range', 416, {}, failed('HTTP_STATUS')],
    ['503 with a time', 503, { 'retry-after': '7' }, failed('HTTP_STATUS', '7')],
    ['just as much as may be', 200, { 'content-length': '1000' }, body({ sizeBytes: 1_000 })],
    ['a byte more than may be', 200, { 'content-length': '1001' }, unusable('ENTRY_TOO_LARGE')],
    ['an encoding that cannot be undone', 200, { 'content-encoding': 'compress' }, unusable('BAD_ENCODING')],
    ['a framing nobody asked for', 200, { 'transfer-encoding': 'gzip, chunked' }, unusable('BAD_ENCODING')],
    [
      'gzip, which is of no known size and never resumed',
      200,
      { 'content-encoding': 'gzip', 'content-length': '9', etag: '"a"' },
      body({ codings: ['gzip'], sizeBytes: 9, maxReceivedBytes: 2 * MAX }),
    ],
    ['206 of all that there is', 206, part('bytes 0-299/300'), body({ sizeBytes: 300, validator: '"v1"' })],
    ['206 of a part nobody asked for', 206, part('bytes 0-99/300'), unusable('BAD_RESPONSE')],
    ['206 of the rest nobody asked for', 206, part('bytes 100-299/300'), unusable('BAD_RESPONSE')],
    ['206 without a range', 206, {}, unusable('BAD_RESPONSE')],
    ['206 of several ranges', 206, { 'content-type': 'multipart/byteranges; boundary=x' }, unusable('BAD_RESPONSE')],
    [
      '206 whose length is not that of its range',
      206,
      part('bytes 0-299/300', { 'content-length': '299' }),
      unusable('BAD_RESPONSE'),
    ],
  ])('that is %s', (_, status, headers, verdict) => {
    expect(judge(status, headers)).toMatchObject(verdict)
  })

  it.each<[string, number, HeaderFields, object]>([
    ['206 of the rest', 206, part('bytes 100-299/300'), body({ from: 100, sizeBytes: 300, validator: '"v1"' })],
    ['206 of another part', 206, part('bytes 50-299/300'), unusable('SOURCE_CHANGED')],
    ['206 of another file', 206, part('bytes 100-299/300', { etag: '"v2"' }), unusable('SOURCE_CHANGED')],
    ['206 of another size', 206, part('bytes 100-399/400'), unusable('SOURCE_CHANGED')],
    ['206 that is encoded', 206, part('bytes 100-299/300', { 'content-encoding': 'gzip' }), unusable('SOURCE_CHANGED')],
    ['200 of all of it', 200, { 'content-length': '300', etag: '"v1"' }, body({ sizeBytes: 300, validator: '"v1"' })],
    ['416, as the file is shorter now', 416, {}, failed('SOURCE_CHANGED')],
    ['404', 404, {}, failed('HTTP_STATUS')],
  ])('to a request for the rest that is %s', (_, status, headers, verdict) => {
    expect(judge(status, headers, received)).toMatchObject(verdict)
  })

  it('contains the name and the date of its body', () => {
    const headers = {
      'content-type': 'image/png',
      'content-disposition': 'attachment; filename=b',
      'last-modified': 'x',
    }
    const { facts } = judge(200, headers) as Extract<ResponseVerdict, { kind: 'body' }>
    expect(facts).toEqual({
      finalUrl: url,
      contentType: 'image/png',
      contentDisposition: 'attachment; filename=b',
      lastModified: 'x',
    })
  })
})
