// One request that a scripted origin is answering, and what a behaviour may do with it.

export interface OriginRequest {
  /** The request target as it was sent, including its query. */
  readonly path: string
  readonly method: string
  /** Names are in lower case. Several fields of one name are joined by ", ". */
  readonly headers: Readonly<Record<string, string>>
  /** `performance.now()` when the head was complete. */
  readonly at: number
}

/** One request that is being answered. Every wait rejects once the client is gone, which ends the behaviour. */
export interface Exchange {
  readonly request: OriginRequest
  /** Aborted once the connection is gone. */
  readonly signal: AbortSignal
  /** Sends strings as latin1, so that a header can hold any byte. Resolves when there is room for more. */
  write(...chunks: (Buffer | string)[]): Promise<void>
  pause(ms: number): Promise<void>
  /** Never resolves. */
  gone(): Promise<never>
  /** Sends FIN after everything that was written. This connection takes no further request. */
  close(): void
  /** Sends RST, a moment after everything that was written has gone to the kernel, so that it can arrive first. */
  reset(): Promise<void>
}

/** Answers one request. If it ends without `close` or `reset`, the connection takes the next request. */
export type Behaviour = (exchange: Exchange) => Promise<void>
