// One attempt at one body: a request, its redirects, its deadlines, until the body is whole or an outcome says why not.
import type { Dispatcher } from 'undici'
import type { EntryFailureCode } from '#contracts/failures.ts'
import type { Clock } from '../lib/clock.ts'
import { failureCode } from './failure.ts'
import { continues, parseContentRange, type Received, strongEtag } from './partial.ts'
import { parseRedirect } from './source.ts'

/** Where a body goes. Called while the response is parsed, so nothing here may wait. */
export interface BodySink {
  /**
   * A body begins, of `sizeBytes` if the origin told; what came before was another try and is void. Under `etag`, if there
   * is one, a later request can go on with it.
   */
  begin(sizeBytes: number | null, etag: string | null): void
  /** Takes over the chunk. False: send no more until the callback given to `whenReady` is called. */
  write(chunk: Buffer): boolean
  whenReady(resume: () => void): void
}

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

export interface ResponseFacts {
  readonly finalUrl: URL
  readonly contentType: string | null
  readonly contentDisposition: string | null
  readonly lastModified: string | null
}

export interface AttemptFailed {
  readonly ok: false
  readonly code: EntryFailureCode
  readonly httpStatus: number | null
  readonly retryAfter: string | null
  /** Set where the next attempt may continue instead of starting over. */
  readonly received: Received | null
}
export type AttemptOutcome = ({ readonly ok: true } & ResponseFacts) | AttemptFailed

export interface AttemptRequest {
  readonly url: URL
  readonly userAgent: string
  readonly sink: BodySink
  /** What an earlier attempt received and the sink still holds. */
  readonly received: Received | null
  readonly limits: AttemptLimits
  readonly clock: Clock
  /** Called exactly once. */
  readonly done: (outcome: AttemptOutcome) => void
}

/** Bodies of redirects and errors are read up to this, so that the connection can serve on. */
const MAX_DISCARDED_BYTES = 64 * 1024

export class Attempt implements Dispatcher.DispatchHandler {
  readonly #dispatcher: Dispatcher
  readonly #request: AttemptRequest
  #url: URL
  #redirects = 0
  #controller: Dispatcher.DispatchController | null = null
  #phase: 'waiting' | 'body' | 'discarding' | 'settled' = 'waiting'
  /** What happens when the discarded body has ended. */
  #afterDiscard: () => void = () => {}
  #facts: ResponseFacts | null = null
  #etag: string | null = null
  #sizeBytes: number | null
  #receivedBytes: number
  #discardedBytes = 0
  #paused = false
  /** When the current wait began: for the headers, later for the next byte. */
  #sinceMs: number
  /** The window in which the minimum rate is taken. */
  #windowMs: number
  #windowBytes = 0
  #bytesSinceCheck = 0

  constructor(dispatcher: Dispatcher, request: AttemptRequest) {
    this.#dispatcher = dispatcher
    this.#request = request
    this.#url = request.url
    this.#receivedBytes = request.received?.bytes ?? 0
    this.#sizeBytes = request.received?.sizeBytes ?? null
    this.#sinceMs = this.#windowMs = request.clock.monotonicMs()
    this.#dispatch()
  }

  get receivedBytes(): number {
    return this.#receivedBytes
  }

  get sizeBytes(): number | null {
    return this.#sizeBytes
  }

  /** Ends it without an outcome of its own: `done` gets this code. */
  end(code: EntryFailureCode): void {
    if (this.#phase !== 'settled') this.#fail(code, null)
  }

  /** Holds the deadlines; called some times a second. */
  check(nowMs: number): void {
    const { headersTimeoutMs, idleTimeoutMs, minBytesPerSecond } = this.#request.limits
    if (this.#phase === 'settled') return
    if (this.#phase === 'waiting') {
      if (nowMs - this.#sinceMs > headersTimeoutMs) this.#fail('HEADERS_TIMEOUT', null)
      return
    }
    // While we ourselves ask for no bytes, the origin cannot be blamed.
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
    const { userAgent, received } = this.#request
    const headers: Record<string, string> = { 'user-agent': userAgent, accept: '*/*', 'accept-encoding': 'identity' }
    if (received !== null) {
      headers.range = `bytes=${received.bytes}-`
      headers['if-range'] = received.etag
    }
    const { origin, pathname, search } = this.#url
    this.#dispatcher.dispatch({ origin, path: pathname + search, method: 'GET', headers }, this)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#phase === 'settled') controller.abort(new Error('ended before it began'))
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: HeaderFields): void {
    if (this.#phase === 'settled') return
    // Nobody asked for another protocol; the other interim responses say nothing we need.
    if (status === 101) return this.#fail('BAD_RESPONSE', status)
    if (status < 200) return
    const location = one(headers.location)
    if (
      status >= 301 &&
      status <= 308 &&
      status !== 304 &&
      status !== 305 &&
      status !== 306 &&
      location !== undefined
    ) {
      this.#discard(() => this.#follow(location))
    } else if (status === 200 || status === 203 || status === 206) {
      this.#beginBody(status, headers)
    } else if (status === 416 && this.#request.received !== null) {
      // The file is shorter than what we have of it: it is another one.
      this.#discard(() => this.#fail('SOURCE_CHANGED', status))
    } else {
      const retryAfter = one(headers['retry-after']) ?? null
      this.#discard(() => this.#fail('HTTP_STATUS', status, retryAfter))
    }
  }

  #beginBody(status: number, headers: HeaderFields): void {
    const { received, sink, limits } = this.#request
    const etag = strongEtag(one(headers.etag))
    if (isEncoded(headers['content-encoding'])) return this.#fail('BAD_ENCODING', status)
    const announced = parseLength(one(headers['content-length']))
    let sizeBytes = announced
    let from = 0
    if (status === 206) {
      const range = parseContentRange(one(headers['content-range']))
      if (received === null) {
        // Not asked for: only the complete representation will do.
        if (range === null || range.first !== 0 || range.total !== range.last + 1)
          return this.#fail('BAD_RESPONSE', status)
      } else if (!continues(received, range, etag)) {
        return this.#fail('SOURCE_CHANGED', status)
      }
      if (announced !== null && announced !== range!.last - range!.first + 1) return this.#fail('BAD_RESPONSE', status)
      sizeBytes = range!.total
      from = range!.first
    }
    if (sizeBytes !== null && sizeBytes > limits.maxEntryBytes) return this.#fail('ENTRY_TOO_LARGE', status)
    this.#facts = {
      finalUrl: this.#url,
      contentType: one(headers['content-type']) ?? null,
      contentDisposition: one(headers['content-disposition']) ?? null,
      lastModified: one(headers['last-modified']) ?? null,
    }
    this.#etag = etag
    this.#sizeBytes = sizeBytes
    this.#receivedBytes = from
    this.#phase = 'body'
    this.#sinceMs = this.#request.clock.monotonicMs()
    this.#startWindow(this.#sinceMs)
    if (from === 0) sink.begin(sizeBytes, etag)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytesSinceCheck += chunk.length
    if (this.#phase === 'discarding') {
      this.#discardedBytes += chunk.length
      if (this.#discardedBytes > MAX_DISCARDED_BYTES) controller.abort(new Error('more than is worth discarding'))
      return
    }
    if (this.#phase !== 'body') return
    this.#receivedBytes += chunk.length
    const { sink, limits } = this.#request
    if (this.#receivedBytes > limits.maxEntryBytes) return this.#fail('ENTRY_TOO_LARGE', null)
    if (this.#sizeBytes !== null && this.#receivedBytes > this.#sizeBytes) return this.#fail('BAD_RESPONSE', null)
    if (sink.write(chunk)) return
    this.#paused = true
    controller.pause()
    sink.whenReady(() => {
      // Never from within another response's callback: undici's parser is not reentrant.
      setImmediate(() => {
        this.#paused = false
        if (this.#phase === 'body') controller.resume()
      })
    })
  }

  onResponseEnd(): void {
    if (this.#phase === 'discarding') return this.#afterDiscard()
    if (this.#phase !== 'body') return
    if (this.#sizeBytes !== null && this.#receivedBytes !== this.#sizeBytes) return this.#fail('BODY_TRUNCATED', null)
    this.#settle({ ok: true, ...this.#facts! })
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#phase === 'settled') return
    if (this.#phase === 'discarding') return this.#afterDiscard()
    this.#fail(failureCode(error, this.#phase === 'body'), null)
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
    this.#request.done(outcome)
  }
}

type HeaderFields = Record<string, string | string[] | undefined>

const one = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value)

/** Codings may be listed in one field or in several. */
function isEncoded(value: string | string[] | undefined): boolean {
  const codings = [value ?? []].flat().flatMap((field) => field.split(','))
  return codings.some((coding) => !['', 'identity'].includes(coding.trim().toLowerCase()))
}

function parseLength(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null
}
