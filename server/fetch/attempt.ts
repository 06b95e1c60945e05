// One attempt at one body: a request, its redirects, its deadlines, until the body is whole or an outcome says why not.
import type { Dispatcher } from 'undici'
import type { EntryFailureCode } from '#contracts/failures.ts'
import { assertNever } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import type { BodySink } from './body-sink.ts'
import { type Coding, createDecoder, type Decoder } from './decode.ts'
import { createDecoderPlaces, type DecoderPlaces } from './decoder-places.ts'
import type { FetchDispatcher } from './dispatcher.ts'
import { failureCode } from './failure.ts'
import type { Received } from './range-resume.ts'
import { type BodyVerdict, type HeaderFields, judgeResponse, type ResponseFacts } from './response.ts'
import { parseRedirect } from './source.ts'

export interface AttemptLimits {
  /** Bodies larger than this fail as ENTRY_TOO_LARGE. */
  readonly maxEntryBytes: number
  readonly maxRedirects: number
  /** From the connection to the end of the response headers; anew for each redirect. */
  readonly headersTimeoutMs: number
  /** Longest silence in a body. */
  readonly idleTimeoutMs: number
  /** Least average over each idle time. */
  readonly minBytesPerSecond: number
}

export interface AttemptFailed {
  readonly ok: false
  readonly code: EntryFailureCode
  readonly httpStatus: number | null
  readonly retryAfter: string | null
  /** Set where the next attempt may continue instead of starting over. */
  readonly received: Received | null
}
type AttemptWhole = { readonly ok: true } & ResponseFacts
export type AttemptOutcome = AttemptWhole | AttemptFailed

export interface AttemptRequest {
  readonly url: URL
  /** HEAD is over with the headers: the sink is told what begins, and nothing comes. @default 'GET' */
  readonly method?: 'GET' | 'HEAD'
  readonly userAgent: string
  readonly sink: BodySink
  /** What an earlier attempt received and the sink still holds. */
  readonly received: Received | null
  readonly limits: AttemptLimits
  readonly clock: Clock
  /** One for all attempts of a process. @default its own */
  readonly decoderPlaces?: DecoderPlaces
  /** Whose entry it is, where places are shared. @default its own */
  readonly lane?: object
  /** Called exactly once. */
  readonly done: (outcome: AttemptOutcome) => void
}

/** Bodies of redirects and errors are read up to this, so that the connection can serve on. */
const MAX_DISCARDED_BYTES = 64 * 1024
/** Before the final responses of an attempt, and UTF-16 units of their headers: HTTP has no limit (RFC 9110 section 15.2). */
const MAX_INTERIM_RESPONSES = 16
const MAX_INTERIM_LENGTH = 64 * 1024

export class Attempt implements Dispatcher.DispatchHandler {
  readonly #dispatcher: FetchDispatcher
  readonly #request: AttemptRequest
  #url: URL
  #redirects = 0
  #interimResponses = 0
  #interimLength = 0
  #controller: Dispatcher.DispatchController | null = null
  #phase: 'waiting' | 'body' | 'decoding' | 'discarding' | 'settled' = 'waiting'
  /** What happens when the discarded body has ended. */
  #afterDiscard: () => void = () => {}
  /** What becomes of it once the body is whole. */
  #whole: AttemptWhole | null = null
  #etag: string | null = null
  /** Undoes an encoding nobody asked for; then the sizes below are of the encoded body. */
  #decoder: Decoder | null = null
  #sizeBytes: number | null
  #receivedBytes: number
  #maxReceivedBytes = 0
  #discardedBytes = 0
  #paused = false
  /** When the current wait began: for the headers, later for the next byte. */
  #sinceMs: number
  /** The window in which the minimum rate is taken. */
  #windowMs: number
  #windowBytes = 0
  #bytesSinceCheck = 0

  constructor(dispatcher: FetchDispatcher, request: AttemptRequest) {
    this.#dispatcher = dispatcher
    this.#request = request
    this.#url = request.url
    this.#receivedBytes = request.received?.bytes ?? 0
    this.#sizeBytes = request.received?.sizeBytes ?? null
    this.#sinceMs = this.#windowMs = request.clock.monotonicMs()
    this.#dispatch()
  }

  /** Where it has got to by redirects. */
  get url(): URL {
    return this.#url
  }

  get receivedBytes(): number {
    return this.#decoder === null ? this.#receivedBytes : this.#decoder.decodedBytes
  }

  get sizeBytes(): number | null {
    return this.#decoder === null ? this.#sizeBytes : null
  }

  /** Ends it without an outcome of its own: `done` gets this code. */
  end(code: EntryFailureCode): void {
    if (this.#phase !== 'settled') this.#fail(code, null)
  }

  /** Holds the deadlines; called some times a second. */
  check(nowMs: number): void {
    const { headersTimeoutMs, idleTimeoutMs, minBytesPerSecond } = this.#request.limits
    // Once the origin has sent everything, there is nothing more to wait for from it.
    if (this.#phase === 'settled' || this.#phase === 'decoding') return
    if (this.#phase === 'waiting') {
      if (nowMs - this.#sinceMs > headersTimeoutMs) this.#fail('HEADERS_TIMEOUT', null)
      return
    }
    // While we ourselves ask for no bytes, the origin cannot be blamed.
    if (this.#decoder?.keepsPlace(nowMs) === false) return this.#tooSlow()
    if (this.#paused) this.#startWindow(nowMs)
    if (this.#bytesSinceCheck > 0 || this.#paused) this.#sinceMs = nowMs
    this.#windowBytes += this.#bytesSinceCheck
    this.#bytesSinceCheck = 0
    if (nowMs - this.#sinceMs > idleTimeoutMs) return this.#tooSlow()
    const windowMs = nowMs - this.#windowMs
    if (windowMs < idleTimeoutMs) return
    if (this.#windowBytes < (minBytesPerSecond * windowMs) / 1000) return this.#tooSlow()
    this.#startWindow(nowMs)
  }

  #tooSlow(): void {
    // Of a redirect or an error all that matters is known; its body is just not waited for any longer.
    if (this.#phase === 'discarding') this.#controller?.abort(new Error('too slow to be worth discarding'))
    else this.#fail('BODY_TOO_SLOW', null)
  }

  #startWindow(nowMs: number): void {
    this.#windowMs = nowMs
    this.#windowBytes = 0
  }

  #dispatch(): void {
    const { userAgent, received, method = 'GET' } = this.#request
    const headers: Record<string, string> = { 'user-agent': userAgent, accept: '*/*', 'accept-encoding': 'identity' }
    if (received !== null) {
      headers.range = `bytes=${received.bytes}-`
      headers['if-range'] = received.etag
    }
    const { origin, pathname, search } = this.#url
    this.#dispatcher.dispatch({ origin, path: pathname + search, method, headers }, this)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // Until now it waited for a connection, which has a limit of its own; the answer has all of its time yet.
    if (this.#phase === 'waiting') this.#sinceMs = this.#request.clock.monotonicMs()
    if (this.#phase === 'settled') controller.abort(new Error('ended before it began'))
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: HeaderFields): void {
    if (this.#phase === 'settled') return
    if (status < 200) return this.#passInterim(status, headers)
    const { received, limits } = this.#request
    const verdict = judgeResponse(status, headers, { url: this.#url, received, maxEntryBytes: limits.maxEntryBytes })
    switch (verdict.kind) {
      case 'follow':
        return this.#discard(() => this.#follow(verdict.location))
      case 'failed':
        return this.#discard(() => this.#fail(verdict.code, status, verdict.retryAfter))
      case 'unusable':
        return this.#fail(verdict.code, status)
      case 'body':
        return this.#beginBody(verdict)
      default:
        return assertNever(verdict)
    }
  }

  /** Nobody asked for another protocol; the others say nothing we need. */
  #passInterim(status: number, headers: HeaderFields): void {
    this.#interimLength += lengthOf(headers)
    const isTooMuch = ++this.#interimResponses > MAX_INTERIM_RESPONSES || this.#interimLength > MAX_INTERIM_LENGTH
    if (status === 101 || isTooMuch) this.#fail('BAD_RESPONSE', status)
  }

  #beginBody({ facts, codings, from, sizeBytes, maxReceivedBytes, etag }: BodyVerdict): void {
    const isEncoded = codings.length > 0
    this.#whole = { ok: true, ...facts }
    this.#maxReceivedBytes = maxReceivedBytes
    this.#etag = etag
    this.#sizeBytes = sizeBytes
    this.#receivedBytes = from
    this.#phase = 'body'
    this.#sinceMs = this.#request.clock.monotonicMs()
    this.#startWindow(this.#sinceMs)
    if (from === 0) this.#request.sink.begin(isEncoded ? null : sizeBytes, etag)
    if (this.#request.method === 'HEAD') this.#settle(this.#whole)
    else if (isEncoded) this.#decode(codings)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // Every chunk is held, whatever becomes of it: that proves to its socket that all bytes before it are parsed.
    const lease = this.#dispatcher.hold(chunk)
    if (!this.#isWanted(controller, chunk)) return lease?.release()
    const target = this.#decoder ?? this.#request.sink
    const hasRoom = target.write(chunk, lease)
    // A decoder has copied it.
    if (this.#decoder !== null) lease?.release()
    if (hasRoom) return
    this.#paused = true
    controller.pause()
    target.whenReady(() => {
      // Never from within another response's callback: undici's parser is not reentrant.
      setImmediate(() => {
        this.#paused = false
        if (this.#phase === 'body') controller.resume()
      })
    })
  }

  /** Counts the chunk; false if it belongs to no body that is wanted. */
  #isWanted(controller: Dispatcher.DispatchController, chunk: Buffer): boolean {
    this.#bytesSinceCheck += chunk.length
    if (this.#phase === 'discarding') {
      this.#discardedBytes += chunk.length
      if (this.#discardedBytes > MAX_DISCARDED_BYTES) controller.abort(new Error('more than is worth discarding'))
      return false
    }
    if (this.#phase !== 'body') return false
    this.#receivedBytes += chunk.length
    if (this.#receivedBytes > this.#maxReceivedBytes) this.#fail('ENTRY_TOO_LARGE', null)
    else if (this.#sizeBytes !== null && this.#receivedBytes > this.#sizeBytes) this.#fail('BAD_RESPONSE', null)
    else return true
    return false
  }

  onResponseEnd(): void {
    if (this.#phase === 'discarding') return this.#afterDiscard()
    if (this.#phase !== 'body') return
    if (this.#sizeBytes !== null && this.#receivedBytes !== this.#sizeBytes) return this.#fail('BODY_TRUNCATED', null)
    if (this.#decoder === null) return this.#settle(this.#whole!)
    this.#phase = 'decoding'
    this.#controller = null
    this.#decoder.end()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#phase === 'settled') return
    if (this.#phase === 'discarding') return this.#afterDiscard()
    this.#fail(failureCode(error, this.#phase === 'body'), null)
  }

  #decode(codings: readonly Coding[]): void {
    const { sink, limits, decoderPlaces: places = createDecoderPlaces(), lane = this } = this.#request
    const done = (code: EntryFailureCode | null) =>
      code === null ? this.#settle(this.#whole!) : this.#fail(code, null)
    this.#decoder = createDecoder({ codings, sink, maxEntryBytes: limits.maxEntryBytes, places, lane, done })
  }

  #discard(after: () => void): void {
    this.#phase = 'discarding'
    this.#discardedBytes = 0
    this.#sinceMs = this.#request.clock.monotonicMs()
    this.#startWindow(this.#sinceMs)
    this.#afterDiscard = after
  }

  #follow(location: string): void {
    if (++this.#redirects > this.#request.limits.maxRedirects) return this.#fail('TOO_MANY_REDIRECTS', null)
    const next = parseRedirect(location, this.#url)
    if (next === null) return this.#fail('FORBIDDEN_TARGET', null)
    this.#url = next
    this.#controller = null
    this.#phase = 'waiting'
    this.#sinceMs = this.#request.clock.monotonicMs()
    this.#dispatch()
  }

  #fail(code: EntryFailureCode, httpStatus: number | null, retryAfter: string | null = null): void {
    const received = this.#resumable(code)
    const controller = this.#controller
    this.#settle({ ok: false, code, httpStatus, retryAfter, received })
    controller?.abort(new Error(code))
  }

  /** What the next attempt may go on from; before a body began, that is what this one was given. */
  #resumable(code: EntryFailureCode): Received | null {
    if (this.#phase !== 'body') return code === 'SOURCE_CHANGED' ? null : this.#request.received
    if (code !== 'BODY_TRUNCATED' && code !== 'BODY_TOO_SLOW') return null
    if (this.#etag === null || this.#receivedBytes === 0) return null
    return { bytes: this.#receivedBytes, etag: this.#etag, sizeBytes: this.#sizeBytes }
  }

  #settle(outcome: AttemptOutcome): void {
    this.#phase = 'settled'
    this.#decoder?.destroy()
    this.#request.done(outcome)
  }
}

function lengthOf(headers: HeaderFields): number {
  let length = 0
  for (const [name, value = ''] of Object.entries(headers)) length += name.length + String(value).length
  return length
}
