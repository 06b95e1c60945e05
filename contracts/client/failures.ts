// The errors that a call can end with: refused, unreachable, or not begun.
import { TRPCClientError } from '@trpc/client'
import type { RefusalData } from '../failures.ts'
import type { AppRouter } from '../router.ts'

/** The server refused the call. `refusal` is the typed reason. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
  readonly refusal: RefusalData

  constructor(refusal: RefusalData) {
    super(refusal.message)
    this.refusal = refusal
  }
}

/** The server cannot be reached, or another program answers there. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError'
}

/** A subscription did not begin. A socket does not report why, so the caller should try an HTTP call, which does. */
export class NotBegunError extends Error {
  override readonly name = 'NotBegunError'
}

export const isNotFound = (error: Error) => error instanceof RefusedError && error.refusal.code === 'NOT_FOUND'

export interface CallFailure {
  error: Error
  retryable: boolean
  retryAfterMs: number | null
}

/** Turns what a tRPC call threw into an error of the contract, and says if the same call may be made again. */
export function readFailure(error: unknown, url: string): CallFailure {
  if (!(error instanceof TRPCClientError)) {
    const plain = error instanceof Error ? error : new Error(String(error))
    return { error: plain, retryable: false, retryAfterMs: null }
  }
  const { data, meta, message, cause } = error as TRPCClientError<AppRouter>
  if (data?.refusal) {
    const { retryable, retryAfterMs } = data.refusal
    return { error: new RefusedError(data.refusal), retryable, retryAfterMs }
  }
  if (data) return { error: new Error(`the server failed: ${message}`), retryable: false, retryAfterMs: null }
  const status = meta?.response instanceof Response ? meta.response.status : null
  const reason = ((cause as Error | undefined)?.cause as { code?: string } | undefined)?.code ?? message
  const text =
    status === null
      ? `no sheaf server answers at ${url} (${reason})`
      : `what answers at ${url} is not sheaf, or refuses this client (HTTP ${status})`
  return { error: new UnreachableError(text), retryable: status === null || status >= 500, retryAfterMs: null }
}
