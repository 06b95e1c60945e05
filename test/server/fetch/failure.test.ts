// Which code of the contract is used for which error of the network.
import { describe, expect, it } from 'vitest'
import { failureCode } from '../../../server/fetch/failure.ts'

const withCode = (code: string, cause?: unknown) => Object.assign(new Error('text', { cause }), { code })
const parserError = Object.assign(new Error('Expected HTTP/'), { name: 'HTTPParserError', code: undefined })

describe('failureCode', () => {
  it.each([
    ['SHEAF_FORBIDDEN_TARGET', 'FORBIDDEN_TARGET'],
    ['ENOTFOUND', 'NAME_NOT_RESOLVED'],
    ['EAI_AGAIN', 'NAME_NOT_RESOLVED'],
    ['UND_ERR_CONNECT_TIMEOUT', 'CONNECT_TIMEOUT'],
    ['ETIMEDOUT', 'CONNECT_TIMEOUT'],
    ['ECONNREFUSED', 'CONNECT_FAILED'],
    ['ECONNRESET', 'CONNECT_FAILED'],
    ['EHOSTUNREACH', 'CONNECT_FAILED'],
    ['EMFILE', 'CONNECT_FAILED'],
    ['ENFILE', 'CONNECT_FAILED'],
    ['UND_ERR_SOCKET', 'CONNECT_FAILED'],
    ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'BAD_RESPONSE'],
    ['CERT_HAS_EXPIRED', 'TLS_ERROR'],
    ['CERT_NOT_YET_VALID', 'TLS_ERROR'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'TLS_ERROR'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'TLS_ERROR'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'TLS_ERROR'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'TLS_ERROR'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'TLS_ERROR'],
    ['EPROTO', 'TLS_ERROR'],
    ['EPROTOTYPE', 'CONNECT_FAILED'],
    ['NOT_A_CODE_WE_KNOW', 'CONNECT_FAILED'],
  ])('%s before the headers is %s, and afterwards BODY_TRUNCATED', (code, expected) => {
    expect(failureCode(withCode(code), false)).toBe(expected)
    expect(failureCode(withCode(code), true)).toBe('BODY_TRUNCATED')
  })

  it('is BAD_RESPONSE for anything that the parser rejects, before and after the headers', () => {
    expect(failureCode(parserError, false)).toBe('BAD_RESPONSE')
    expect(failureCode(parserError, true)).toBe('BAD_RESPONSE')
  })

  it('is BAD_RESPONSE for endless headers and trailers', () => {
    expect(failureCode(withCode('UND_ERR_HEADERS_OVERFLOW'), false)).toBe('BAD_RESPONSE')
    expect(failureCode(withCode('UND_ERR_HEADERS_OVERFLOW'), true)).toBe('BAD_RESPONSE')
  })

  it('looks for the reason inside wrapping errors', () => {
    expect(failureCode(withCode('UND_ERR_SOCKET', withCode('CERT_HAS_EXPIRED')), false)).toBe('TLS_ERROR')
    expect(failureCode(new TypeError('fetch failed', { cause: withCode('ENOTFOUND') }), false)).toBe(
      'NAME_NOT_RESOLVED',
    )
  })

  it('uses the error of the first of several addresses', () => {
    const all = new AggregateError([withCode('SHEAF_FORBIDDEN_TARGET'), withCode('ECONNREFUSED')])
    expect(failureCode(all, false)).toBe('FORBIDDEN_TARGET')
    expect(failureCode(new AggregateError([]), false)).toBe('CONNECT_FAILED')
  })

  it.each([null, undefined, 'text', 5, {}, { code: 5 }, new Error('x', { cause: null })])(
    'has a code for %o',
    (thrown) => {
      expect(failureCode(thrown, false)).toBe('CONNECT_FAILED')
    },
  )
})
