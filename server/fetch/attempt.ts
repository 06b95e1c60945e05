// One attempt at one body: sends the request, follows redirects and keeps deadlines until the body is whole or fails.
import type { Dispatcher } from 'undici'
import type { EntryFailureCode } from '#contracts/failures.ts'
import { assertNever } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import type { BodySink } from './body-sink.ts'
import { CookieJar } from './cookies.ts'
import { type Coding, createDecoder, type Decoder } from './decode.ts'
import { createDecoderSemaphore, type DecoderSemaphore } from './decoder-semaphore.ts'
import type { FetchDispatcher } from './dispatcher.ts'
import { failureCode } from './failure.ts'
import type { OriginRule } from './origins/rules.ts'
import type { Received } from './range-resume.ts'
import { headersFor } from './request.ts'
import { type BodyVerdict, type HeaderFields, judgeResponse, type ResponseFacts } from './response.ts'
import { parseRedirect } from './source.ts'

export interface AttemptLimits {
  /** Bodies larger than this fail as ENTRY_TOO_LARGE. */
  readonly maxEntryBytes: number
  readonly maxRedirects: number
  /** For name, TCP and TLS together. */
  readonly connectTimeoutMs: number
  /** From the request to the end of the response headers. It starts again at each redirect. */
  readonly headersTimeoutMs: number
  /** The longest silence in a body. */
  readonly idleTimeoutMs: number
  /** The lowest average rate of a body, taken over each `idleTimeoutMs`. */
  readonly minBytesPerSecond: number
}

export interface AttemptFailed {
  readonly ok: false
  readonly code: EntryFailureCode
  readonly httpStatus: number | null
  /** When the origin asks to be asked again, as it says it; null if it does not. */
  readonly retryAfter: string | null
  /** What the next attempt can continue from; null if it must start over. */
  readonly received: Received | null
}
type AttemptWhole = { readonly ok: true } & ResponseFacts
export type AttemptOutcome = AttemptWhole | AttemptFailed

export interface AttemptRequest {
  readonly url: URL
  /**
   * What is asked for: the body; or only the headers, by HEAD or by GET for the first byte. Headers alone give the sink a
   * `begin`, and no bytes. @default 'body'
   */
  readonly asksFor?: 'body' | 'head' | 'first-byte'
  readonly userAgent: string
  readonly sink: BodySink
  /** What an earlier attempt received and the sink still holds. */
  readonly received: Received | null
  readonly limits: AttemptLimits
  readonly clock: Clock
  /** All attempts of a process share one. @default its own */
  readonly decoderSemaphore?: DecoderSemaphore
  /** Lanes share the decoders fairly; this is the lane of the entry. @default its own */
  readonly lane?: object
  /** What the operator has set for hosts. @default nothing */
  readonly ruleFor?: (url: URL) => OriginRule | null
  /** A connection is there, and the first request goes out. */
  readonly sent?: (nowMs: number) => void
  /** The first response is there, so long after its request. */
  readonly answered?: (status: number, answerMs: number) => void
  /** The origin answers others, slowly: this request may wait longer for its turn. @default false */
  readonly isQueued?: (nowMs: number) => boolean
  /** Called exactly once. */
  readonly done: (outcome: AttemptOutcome) => void
}

/** Bodies of redirects and errors are read up to this size, so that the connection can be used again. */
const MAX_DISCARDED_BYTES = 64 * 1024
/** Interim responses in one attempt. HTTP itself has no limit for them (RFC 9110 section 15.2). */
const MAX_INTERIM_RESPONSES = 16
/** Their headers together, in UTF-16 units. */
const MAX_INTERIM_LENGTH = 64 * 1024

/** While an origin answers one request after the other, each may wait so many times the time for headers. */
const MAX_QUEUEING = 4

export class Attempt implements Dispatcher.DispatchHandler {
  readonly #dispatcher: FetchDispatcher
  readonly #request: AttemptRequest
  #url: URL
  #redirects = 0
  /** What redirects have set. Null until one has. */
  #cookies: CookieJar | null = null
  #interimResponses = 0
  #interimLength = 0
  #controller: Dispatcher.DispatchController | null = null
  #phase: 'connecting' | 'waiting' | 'body' | 'decoding' | 'discarding' | 'settled' = 'connecting'
  #isAnswered = false
  /** Called when the discarded body has ended. */
  #afterDiscard: () => void = () => {}
  /** The outcome to report once the body is whole. */
  #whole: AttemptWhole | null = null
  #validator: string | null = null
  /** Undoes an encoding that was not asked for. If it is set, the sizes below are of the encoded body. */
  #decoder: Decoder | null = null
  #sizeBytes: number | null
  #receivedBytes: number
  #maxReceivedBytes = 0
  #discardedBytes = 0
  #paused = false
  /** When the current wait began: the wait for the headers, later the wait for the next byte. */
  #sinceMs: number
  /** When the window began in which the minimum rate is measured. */
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

  /** The current URL, after the redirects so far. */
  get url(): URL {
    return this.#url
  }

  get receivedBytes(): number {
    return this.#decoder === null ? this.#receivedBytes : this.#decoder.decodedBytes
  }

  get sizeBytes(): number | null {
    return this.#decoder === null ? this.#sizeBytes : null
  }

  /** Ends the attempt from outside: `done` gets this code. */
  end(code: EntryFailureCode): void {
    if (this.#phase !== 'settled') this.#fail(code, null)
  }

  /** Enforces the deadlines. Must be called some times a second. */
  check(nowMs: number): void {
    const { connectTimeoutMs, idleTimeoutMs, minBytesPerSecond } = this.#request.limits
    // While decoding, the origin has sent everything, so none of its deadlines apply.
    if (this.#phase === 'settled' || this.#phase === 'decoding') return
    if (this.#phase === 'connecting') {
      // The dispatcher has a timer for this, which comes first; this one is for a connection that never gets to us.
      if (nowMs - this.#sinceMs > 2 * connectTimeoutMs) this.#fail('CONNECT_TIMEOUT', null)
      return
    }
    if (this.#phase === 'waiting') {
      if (this.#isUnanswered(nowMs)) this.#fail('HEADERS_TIMEOUT', null)
      return
    }
    if (this.#decoder?.keepsPermit(nowMs) === false) return this.#tooSlow()
    // Silence is not the origin's fault while this side has paused it.
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

  #isUnanswered(nowMs: number): boolean {
    const { limits, isQueued } = this.#request
    const waitedMs = nowMs - this.#sinceMs
    if (waitedMs <= limits.headersTimeoutMs) return false
    return waitedMs > MAX_QUEUEING * limits.headersTimeoutMs || isQueued?.(nowMs) !== true
  }

  #tooSlow(): void {
    // The headers of a redirect or an error say all that matters, so a slow body of one is only abandoned.
    if (this.#phase === 'discarding') this.#controller?.abort(new Error('too slow to be worth discarding'))
    else this.#fail('BODY_TOO_SLOW', null)
  }

  #startWindow(nowMs: number): void {
    this.#windowMs = nowMs
    this.#windowBytes = 0
  }

  #dispatch(): void {
    const { userAgent, received, asksFor = 'body', ruleFor, clock } = this.#request
    const rule = ruleFor?.(this.#url) ?? null
    if (rule?.forbidden) return this.#fail('FORBIDDEN_TARGET', null)
    const cookie = this.#cookies?.fieldFor(this.#url, clock.wallMs()) ?? null
    const headers = headersFor({ userAgent, asksFor, received, rule, cookie })
    const { origin, pathname, search } = this.#url
    this.#dispatcher.dispatch(
      { origin, path: pathname + search, method: asksFor === 'head' ? 'HEAD' : 'GET', headers },
      this,
    )
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // Connecting has a time limit of its own, so the time for the headers starts only now.
    if (this.#phase === 'connecting') {
      this.#phase = 'waiting'
      this.#sinceMs = this.#request.clock.monotonicMs()
      if (this.#redirects === 0) this.#request.sent?.(this.#sinceMs)
    }
    if (this.#phase === 'settled') controller.abort(new Error('ended before it began'))
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: HeaderFields): void {
    if (this.#phase === 'settled') return
    if (status < 200) return this.#passInterim(status, headers)
    const { received, limits, clock, asksFor } = this.#request
    const nowMs = clock.monotonicMs()
    if (!this.#isAnswered) this.#request.answered?.(status, nowMs - this.#sinceMs)
    this.#isAnswered = true
    this.#sinceMs = nowMs
    this.#startWindow(nowMs)
    const verdict = judgeResponse(status, headers, {
      url: this.#url,
      received,
      maxEntryBytes: limits.maxEntryBytes,
      isFirstByte: asksFor === 'first-byte',
    })
    switch (verdict.kind) {
      case 'follow':
        this.#keepCookies(headers['set-cookie'])
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

  /** Ignores interim responses, but fails on too many of them and on 101, because no other protocol was asked for. */
  #passInterim(status: number, headers: HeaderFields): void {
    this.#interimLength += lengthOf(headers)
    const isTooMuch = ++this.#interimResponses > MAX_INTERIM_RESPONSES || this.#interimLength > MAX_INTERIM_LENGTH
    if (status === 101 || isTooMuch) this.#fail('BAD_RESPONSE', status)
  }

  #beginBody({ facts, codings, from, sizeBytes, maxReceivedBytes, validator }: BodyVerdict): void {
    const isEncoded = codings.length > 0
    this.#whole = { ok: true, ...facts }
    this.#maxReceivedBytes = maxReceivedBytes
    this.#validator = validator
    this.#sizeBytes = sizeBytes
    this.#receivedBytes = from
    this.#phase = 'body'
    if (from === 0) this.#request.sink.begin(isEncoded ? null : sizeBytes, validator)
    if (this.#request.asksFor !== undefined && this.#request.asksFor !== 'body') this.#peeked()
    else if (isEncoded) this.#decode(codings)
  }

  /** The headers are all that was wanted: more of a body than a byte is not worth reading. */
  #peeked(): void {
    const controller = this.#controller
    this.#settle(this.#whole!)
    if (this.#request.asksFor === 'first-byte') controller?.abort(new Error('the headers are enough'))
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // Every chunk is held, even one that is thrown away: it proves to its socket that all earlier bytes are parsed.
    const lease = this.#dispatcher.hold(chunk)
    if (!this.#isWanted(controller, chunk)) return lease?.release()
    const target = this.#decoder ?? this.#request.sink
    const hasRoom = target.write(chunk, lease)
    // The decoder has copied the chunk.
    if (this.#decoder !== null) lease?.release()
    if (hasRoom) return
    this.#paused = true
    controller.pause()
    target.whenReady(() => {
      // undici's parser is not reentrant, so this must not resume from within another response's callback.
      setImmediate(() => {
        this.#paused = false
        if (this.#phase === 'body') controller.resume()
      })
    })
  }

  /** Counts the chunk. False if its body is discarded, has failed, or fails with this chunk. */
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
    const { sink, limits, decoderSemaphore: semaphore = createDecoderSemaphore(), lane = this } = this.#request
    const done = (code: EntryFailureCode | null) =>
      code === null ? this.#settle(this.#whole!) : this.#fail(code, null)
    this.#decoder = createDecoder({ codings, sink, maxEntryBytes: limits.maxEntryBytes, semaphore, lane, done })
  }

  #discard(after: () => void): void {
    this.#phase = 'discarding'
    this.#discardedBytes = 0
    this.#afterDiscard = after
  }

  #keepCookies(fields: HeaderFields[string]): void {
    if (fields === undefined) return
    this.#cookies ??= new CookieJar()
    this.#cookies.take(fields, this.#url, this.#request.clock.wallMs())
  }

  #follow(location: string): void {
    if (++this.#redirects > this.#request.limits.maxRedirects) return this.#fail('TOO_MANY_REDIRECTS', null)
    const next = parseRedirect(location, this.#url)
    if (next === null) return this.#fail('FORBIDDEN_TARGET', null)
    this.#url = next
    this.#controller = null
    this.#phase = 'connecting'
    this.#sinceMs = this.#request.clock.monotonicMs()
    this.#dispatch()
  }

  #fail(code: EntryFailureCode, httpStatus: number | null, retryAfter: string | null = null): void {
    const received = this.#resumable(code)
    const controller = this.#controller
    this.#settle({ ok: false, code, httpStatus, retryAfter, received })
    controller?.abort(new Error(code))
  }

  /** What the next attempt can continue from. If no body has begun, that is what this attempt was given. */
  #resumable(code: EntryFailureCode): Received | null {
    if (this.#phase !== 'body') return code === 'SOURCE_CHANGED' ? null : this.#request.received
    if (code !== 'BODY_TRUNCATED' && code !== 'BODY_TOO_SLOW') return null
    if (this.#validator === null || this.#receivedBytes === 0) return null
    return { bytes: this.#receivedBytes, validator: this.#validator, sizeBytes: this.#sizeBytes }
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
