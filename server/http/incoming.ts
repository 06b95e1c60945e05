// Receives the bodies of calls. They are counted before they are read, read against a deadline, and judged before they
// are parsed.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Refusal } from '#contracts/failures.ts'
import type { ByteAccount } from '../lib/byte-budget.ts'
import { createQuota } from '../lib/quota.ts'
import { type JsonLimits, judgeJson } from './json.ts'
import { BODY_SILENCE_MS, DISCARDS, RECEIVE_MS, UNCOUNTED_BYTES } from './ledger.ts'

export interface IncomingLimits {
  /** The largest body or message. */
  readonly maxBytes: number
  readonly json: JsonLimits
}

/** The connection was lost, or was closed because the client fell silent. Nobody waits for an answer. */
export class GoneError extends Error {
  override readonly name = 'GoneError'
}

/**
 * Receives the body of a POST, and judges its JSON; returns '' for anything else. A body of another type is left
 * unread. A call without a JSON body has its input in the query, and that is judged instead. `account` holds the memory
 * of the body.
 * @throws Refusal if there is no room for the body, or it is too large, or has too much in it
 * @throws GoneError
 */
export async function receiveCall(
  req: IncomingMessage,
  res: ServerResponse,
  account: ByteAccount,
  limits: IncomingLimits,
): Promise<string> {
  if (req.method === 'POST' && isJson(req)) {
    const text = await receiveBody(req, res, account, limits.maxBytes)
    judge(text, limits.json)
    return text
  }
  const input = new URLSearchParams(req.url?.split('?')[1]).get('input')
  if (input !== null) judge(input, limits.json)
  return ''
}

/** Lets unwanted bodies pass, so that the clients that send them see their answer. Only a few may pass at a time. */
export interface Discards {
  /**
   * Begins to read the body and drop it. If the connection closes after the answer, it resolves only when all is read:
   * a client that still sends would not see the answer.
   */
  letBy(req: IncomingMessage, res: ServerResponse, key: string): Promise<void>
}

export function createDiscards(): Discards {
  const places = createQuota({ perKey: DISCARDS, inAll: DISCARDS })
  return {
    async letBy(req, res, key) {
      // A connection that is gone already would not emit 'close' again.
      if (req.readableEnded || req.socket.destroyed) return
      if (!hasBody(req)) {
        req.resume()
        return
      }
      const place = places.take(key)
      if (place === null) {
        // Reading gigabytes for nothing would keep all others waiting.
        req.pause()
        res.setHeader('connection', 'close')
        return
      }
      const late = setTimeout(() => req.socket.destroy(), RECEIVE_MS)
      const over = new Promise<void>((resolve) => {
        const end = () => {
          clearTimeout(late)
          req.socket.off('close', end)
          place[Symbol.dispose]()
          resolve()
        }
        req.once('end', end)
        // The request itself does not emit 'close' for its connection once it is answered.
        req.socket.once('close', end)
      })
      req.resume()
      if (res.shouldKeepAlive || req.headers.expect !== undefined) return
      await over
    },
  }
}

/** RFC 9112 section 6.3. */
const hasBody = ({ headers }: IncomingMessage) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

/** @throws Refusal */
export function judge(text: string, limits: JsonLimits): void {
  const reason = judgeJson(text, limits)
  if (reason !== null) throw new Refusal('BAD_INPUT', `the JSON ${reason}`)
}

/** @throws Refusal */
export function hold(account: ByteAccount, bytes: number): void {
  if (!account.hold(bytes > UNCOUNTED_BYTES ? bytes : 0)) throw new Refusal('BUSY', 'too much is being received')
}

const isJson = ({ headers }: IncomingMessage) =>
  (headers['content-type'] ?? '').replace(/;.*/s, '').trim().toLowerCase() === 'application/json'

async function receiveBody(
  req: IncomingMessage,
  res: ServerResponse,
  account: ByteAccount,
  maxBytes: number,
): Promise<string> {
  const declared = Number(req.headers['content-length'] ?? 0)
  const refuseLarge = (bytes: number) => {
    if (bytes > maxBytes) throw new Refusal('MANIFEST_TOO_LARGE', `a call may have at most ${maxBytes} bytes`)
  }
  refuseLarge(declared)
  hold(account, declared)
  // A client that sends Expect waits for this before it sends the body (RFC 9110 section 10.1.1).
  if (req.headers.expect !== undefined) res.writeContinue()
  // The body goes into one block that grows: if it drips in, keeping each chunk would cost an object a drop.
  let block = Buffer.alloc(0)
  let length = 0
  return new Promise((resolve, reject) => {
    const over = (end: () => void) => {
      clearTimeout(silence)
      req.off('data', take).off('end', ended).off('close', lost).off('error', lost)
      end()
    }
    const lost = () => over(() => reject(new GoneError('the connection was lost')))
    const ended = () => over(() => resolve(block.toString('utf8', 0, length)))
    const silence = setTimeout(() => {
      req.socket.destroy()
      lost()
    }, BODY_SILENCE_MS)
    const take = (chunk: Buffer) => {
      silence.refresh()
      const needed = length + chunk.length
      try {
        refuseLarge(needed)
        if (needed > block.length) {
          const size = Math.max(needed, Math.min(declared || maxBytes, 2 * block.length))
          if (size > declared) hold(account, size)
          const larger = Buffer.allocUnsafeSlow(size)
          block.copy(larger, 0, 0, length)
          block = larger
        }
      } catch (error) {
        over(() => reject(error as Error))
        return
      }
      chunk.copy(block, length)
      length = needed
    }
    req.on('data', take).once('end', ended).once('close', lost).once('error', lost)
  })
}
