// One request that a scripted origin has under answer, and what may be done with it.

export interface OriginRequest {
  /** The request target as it was sent, with its query. */
  readonly path: string
  readonly method: string
  /** Names in lower case; several of one name joined by ", ". */
  readonly headers: Readonly<Record<string, string>>
  /** `performance.now()` when the head was complete. */
  readonly at: number
}

/** One request under answer. Every wait in it rejects once the client is gone, and the origin takes that as its end. */
export interface Exchange {
  readonly request: OriginRequest
  /** Aborted once the connection is gone. */
  readonly signal: AbortSignal
  /** Strings go out as latin1, so that a header can hold any byte. Resolves when there is room for more. */
  write(...chunks: (Buffer | string)[]): Promise<void>
  pause(ms: number): Promise<void>
  /** Never resolves. */
  gone(): Promise<never>
  /** FIN after all that was written; no further request is answered on this connection. */
  close(): void
  /** RST. What was written before is handed to the kernel and given a moment to arrive. */
  reset(): Promise<void>
}

/** Answers one request. When it settles without `close` or `reset`, the connection takes the next request. */
export type Behaviour = (exchange: Exchange) => Promise<void>
