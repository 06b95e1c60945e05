// Reads what went wrong with a request into the contract's codes. No I/O.
import type { EntryFailureCode } from '#contracts/failures.ts'

const connectCodes: Record<string, EntryFailureCode> = {
  SHEAF_FORBIDDEN_TARGET: 'FORBIDDEN_TARGET',
  ENOTFOUND: 'NAME_NOT_RESOLVED',
  EAI_AGAIN: 'NAME_NOT_RESOLVED',
  EAI_FAIL: 'NAME_NOT_RESOLVED',
  EAI_NODATA: 'NAME_NOT_RESOLVED',
  EAI_NONAME: 'NAME_NOT_RESOLVED',
  UND_ERR_CONNECT_TIMEOUT: 'CONNECT_TIMEOUT',
  ETIMEDOUT: 'CONNECT_TIMEOUT',
  UND_ERR_HEADERS_TIMEOUT: 'HEADERS_TIMEOUT',
  UND_ERR_HEADERS_OVERFLOW: 'BAD_RESPONSE',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'BAD_RESPONSE',
}

/** OpenSSL's verify errors as Node names them (https://nodejs.org/api/tls.html#x509-certificate-error-codes). */
const tlsCode =
  /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH_|EPROTO$)/

/** `headersSeen`: the response had begun, so the connection was there and the body is what broke. */
export function failureCode(error: unknown, headersSeen: boolean): EntryFailureCode {
  // undici gives its parser's errors no code that could be relied on.
  if (error instanceof Error && error.name === 'HTTPParserError') return 'BAD_RESPONSE'
  const code = firstCode(error)
  // Behind a body there are trailers, which may be without an end too.
  if (headersSeen) return code === 'UND_ERR_HEADERS_OVERFLOW' ? 'BAD_RESPONSE' : 'BODY_TRUNCATED'
  return connectCodes[code] ?? (tlsCode.test(code) ? 'TLS_ERROR' : 'CONNECT_FAILED')
}

/** Trying several addresses at once fails with all their errors; the first one speaks for them. */
function firstCode(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return firstCode(error.errors[0])
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown }
  if (typeof code === 'string' && code !== 'UND_ERR_SOCKET') return code
  return cause === undefined ? String(code ?? '') : firstCode(cause)
}
