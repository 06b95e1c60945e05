// Maps errors of a request to the contract's failure codes. No I/O.
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

/**
 * OpenSSL's verify errors under the names that Node gives them
 * (https://nodejs.org/api/tls.html#x509-certificate-error-codes).
 */
const tlsCode =
  /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH_|EPROTO$)/

/** If `headersSeen` is true, the response had begun, so the body is what broke. */
export function failureCode(error: unknown, headersSeen: boolean): EntryFailureCode {
  // undici's parser errors have no reliable code.
  if (error instanceof Error && error.name === 'HTTPParserError') return 'BAD_RESPONSE'
  const code = firstCode(error)
  // Trailers follow a body, and they can be endless too.
  if (headersSeen) return code === 'UND_ERR_HEADERS_OVERFLOW' ? 'BAD_RESPONSE' : 'BODY_TRUNCATED'
  return connectCodes[code] ?? (tlsCode.test(code) ? 'TLS_ERROR' : 'CONNECT_FAILED')
}

/** A connection that tried several addresses fails with all their errors. The first one decides the code. */
function firstCode(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return firstCode(error.errors[0])
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown }
  if (typeof code === 'string' && code !== 'UND_ERR_SOCKET') return code
  return cause === undefined ? String(code ?? '') : firstCode(cause)
}
