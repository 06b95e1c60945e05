// Every failure that clients see: its code, if trying again may help, and the text for the public. No internal text.

interface FailureText {
  /** True if the same call may succeed later. */
  readonly retryable: boolean
  readonly publicMessage: string
}

/** One entry could not be fetched. The archive goes on. */
export const entryFailures = {
  BAD_URL: { retryable: false, publicMessage: 'not an absolute http or https URL without credentials' },
  FORBIDDEN_TARGET: { retryable: false, publicMessage: 'the address, port or scheme is not allowed here' },
  NAME_NOT_RESOLVED: { retryable: true, publicMessage: 'the host name could not be resolved' },
  CONNECT_FAILED: { retryable: true, publicMessage: 'no connection to the origin' },
  CONNECT_TIMEOUT: { retryable: true, publicMessage: 'the origin did not accept a connection in time' },
  TLS_ERROR: { retryable: false, publicMessage: 'no trusted TLS connection to the origin' },
  HEADERS_TIMEOUT: { retryable: true, publicMessage: 'the origin did not answer in time' },
  BODY_TOO_SLOW: { retryable: true, publicMessage: 'the origin stopped sending or sent too slowly' },
  ENTRY_TIMEOUT: { retryable: true, publicMessage: 'the entry took too long in all' },
  HTTP_STATUS: { retryable: false, publicMessage: 'the origin answered with an error status' },
  TOO_MANY_REDIRECTS: { retryable: false, publicMessage: 'too many redirects' },
  BAD_RESPONSE: { retryable: false, publicMessage: 'the origin broke the HTTP protocol' },
  BODY_TRUNCATED: { retryable: true, publicMessage: 'the body ended before it was whole' },
  SOURCE_CHANGED: { retryable: true, publicMessage: 'the file changed while it was being fetched' },
  BAD_ENCODING: { retryable: false, publicMessage: 'the origin sent an encoding that could not be undone' },
  ENTRY_TOO_LARGE: { retryable: false, publicMessage: 'the entry is larger than this server takes' },
} as const satisfies Record<string, FailureText>
export type EntryFailureCode = keyof typeof entryFailures

/** Statuses below 500 that may pass by themselves. 501 and 505 do not (RFC 9110 sections 15.6.2 and 15.6.6). */
const passingStatuses: ReadonlySet<number> = new Set([408, 425, 429])
const lastingStatuses: ReadonlySet<number> = new Set([501, 505])

/** True if the same entry may succeed later. `httpStatus` is that of the origin, if it answered. */
export function isRetryable(code: EntryFailureCode, httpStatus: number | null): boolean {
  if (code !== 'HTTP_STATUS' || httpStatus === null) return entryFailures[code].retryable
  const isServerError = httpStatus >= 500 && httpStatus < 600
  return passingStatuses.has(httpStatus) || (isServerError && !lastingStatuses.has(httpStatus))
}

/** The archive ended without a result. A build that did not complete has this as its last event. */
export const abortReasons = {
  CANCELLED: { retryable: false, publicMessage: 'the archive was cancelled' },
  ABANDONED: { retryable: true, publicMessage: 'nobody watched or downloaded the archive any more' },
  NO_ENTRIES: { retryable: true, publicMessage: 'nothing could be fetched' },
  ENTRY_FAILED: { retryable: true, publicMessage: 'an entry failed, and the archive was asked to end then' },
  ARCHIVE_TOO_LARGE: { retryable: false, publicMessage: 'the archive is larger than this server takes' },
  ARCHIVE_TIMEOUT: { retryable: true, publicMessage: 'the archive took too long in all' },
  NO_SPACE: { retryable: true, publicMessage: 'the server ran out of space' },
  UNRECOVERABLE: { retryable: true, publicMessage: 'the archive could not be continued after a restart' },
  INTERNAL: { retryable: true, publicMessage: 'the server failed; its log says why' },
} as const satisfies Record<string, FailureText>
export type AbortCode = keyof typeof abortReasons

/** A call was refused before any work started. The HTTP transport answers with `httpStatus`. */
export const refusals = {
  BAD_INPUT: { retryable: false, httpStatus: 400, publicMessage: 'the input does not fit the contract' },
  TOO_MANY_ENTRIES: { retryable: false, httpStatus: 400, publicMessage: 'more entries than this server takes' },
  MANIFEST_TOO_LARGE: { retryable: false, httpStatus: 413, publicMessage: 'a larger manifest than this server takes' },
  KEY_CONFLICT: { retryable: false, httpStatus: 409, publicMessage: 'this key already stands for another manifest' },
  GONE: { retryable: false, httpStatus: 404, publicMessage: 'this archive has expired and is not built again' },
  NOT_FOUND: { retryable: false, httpStatus: 404, publicMessage: 'no such archive' },
  BUSY: { retryable: true, httpStatus: 429, publicMessage: 'the server has too much to do; try again later' },
  NO_SPACE: { retryable: true, httpStatus: 503, publicMessage: 'the server has no space left; try again later' },
  SHUTTING_DOWN: { retryable: true, httpStatus: 503, publicMessage: 'the server is shutting down; try again' },
  PROTOCOL_MISMATCH: {
    retryable: false,
    httpStatus: 412,
    publicMessage: 'client and server speak different protocol versions',
  },
} as const satisfies Record<string, FailureText & { httpStatus: number }>
export type RefusalCode = keyof typeof refusals

/** A refused call has this as `error.data.refusal`. */
export interface RefusalData {
  readonly code: RefusalCode
  readonly message: string
  readonly retryable: boolean
  /** Wait at least this long before the same call is made again; null if that would not help. */
  readonly retryAfterMs: number | null
}

/** An `ArchiveApi` throws it to refuse a call. The caller sees `detail`, so it must hold nothing internal. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code: RefusalCode
  readonly retryAfterMs: number | null

  constructor(
    code: RefusalCode,
    detail?: string,
    retryAfterMs: number | null = refusals[code].retryable ? 1000 : null,
  ) {
    const { publicMessage } = refusals[code]
    super(detail === undefined ? publicMessage : `${publicMessage}: ${detail}`)
    this.code = code
    this.retryAfterMs = retryAfterMs
  }

  toData(): RefusalData {
    const { code, message, retryAfterMs } = this
    return { code, message, retryable: refusals[code].retryable, retryAfterMs }
  }
}
