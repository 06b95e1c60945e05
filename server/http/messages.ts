// Carries the messages of one websocket: counts and judges them before tRPC sees them, and lets them wait while too
// many calls are under way or too much is unread.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { Refusal } from '#contracts/failures.ts'
import type { ByteAccount } from '../lib/byte-budget.ts'
import type { Turns } from '../lib/turns.ts'
import type { Outlet } from './answers.ts'
import { createFrameMeter } from './frames.ts'
import { hold, type IncomingLimits, judge } from './incoming.ts'
import { BACKLOG_BYTES, CALL_BYTES, CALLS_AT_A_TIME, RECEIVE_MS } from './ledger.ts'

/** The longest silence: a proxy may close a connection that is silent for longer. */
const PING_EVERY_MS = 25_000
/** A client that sends nothing for this long after a ping is dead. */
const PONG_WAIT_MS = 10_000
/** The longest id or procedure path. It is bounded because both are sent back with each answer. */
const MAX_NAME_LENGTH = 64
/** What a waiting message costs besides its bytes. */
const WAITING_BYTES = 512

/** RFC 6455 section 7.4.1. */
const POLICY_VIOLATION = 1008
/** From the IANA registry of close codes: the client may come back. */
const TRY_AGAIN_LATER = 1013

/** A websocket whose messages go to `screen` first. Those that `screen` lets pass reach the other listeners. */
export class ScreenedSocket extends WebSocket {
  screen: ((data: Buffer, isBinary: boolean) => void) | null = null

  pass(data: Buffer, isBinary: boolean): void {
    super.emit('message', data, isBinary)
  }

  /**
   * Drops what was received and not yet emitted. After a client has left, ws would still emit what that client had
   * sent, one message in each turn of the loop, and has no way to stop that.
   */
  dropReceived(): void {
    const { _receiver: receiver } = this as unknown as { _receiver?: { _buffers?: Buffer[]; _bufferedBytes: number } }
    if (receiver?._buffers === undefined) return
    receiver._buffers.length = 0
    receiver._bufferedBytes = 0
  }

  // biome-ignore lint/suspicious/noExplicitAny: as EventEmitter has it
  override emit(event: string | symbol, ...args: any[]): boolean {
    if (event !== 'message' || this.screen === null) return super.emit(event, ...args)
    this.screen(args[0], args[1])
    return true
  }
}

/** tRPC reads and writes its messages with this. */
interface Encoder {
  encode(response: unknown): string
  decode(data: unknown): unknown
}

export interface Messages {
  readonly encoder: Encoder
  readonly outlet: Outlet
  /** The number of unanswered calls. */
  readonly calls: number
  /** Closes the websocket if it is dead or too slow with a message. Call it about once a second. */
  look(nowMs: number): void
}

export interface MessagesOptions {
  readonly limits: IncomingLimits
  /** The client's key. */
  readonly key: string
  /** Each message takes a turn before it is passed on. */
  readonly turns: Turns
  /** Holds what was received and is not answered. */
  readonly incoming: ByteAccount
  /** Holds answers that were made and not yet taken. */
  readonly answers: ByteAccount
  readonly maxAnswerBytes: number
  /** Called for each message but the pings and pongs of tRPC. */
  onMessage(): void
}

export function screenMessages(client: ScreenedSocket, req: IncomingMessage, options: MessagesOptions): Messages {
  const { limits, key, turns, incoming, answers, maxAnswerBytes, onMessage } = options
  const socket: Socket = req.socket
  const meter = createFrameMeter()
  const waiting: { data: Buffer; isBinary: boolean }[] = []
  let waitingBytes = 0
  let isGoingOn = false
  /** Bytes by the id of the call. If two calls have the same id, the first answer ends both. */
  const calls = new Map<unknown, number>()
  let callBytes = 0
  let heardAtMs = performance.now()
  let pingedAtMs: number | null = null
  let unfinishedSinceMs: number | null = null
  /** The ids of the calls in the message that was decoded last. */
  let begun: unknown[] = []
  let refusedId: string | number | null = null

  const mayGoOn = () => calls.size < CALLS_AT_A_TIME && client.bufferedAmount <= BACKLOG_BYTES

  function settle(): void {
    if (client.readyState !== WebSocket.OPEN) return
    // ws itself closes the connection then, with the code for a message that is too large.
    if (meter.declaredBytes > limits.maxBytes) return
    try {
      hold(incoming, meter.unfinishedBytes + meter.wholeBytes + waitingBytes + callBytes)
    } catch {
      // The account stays full until the connection is closed, so this does not wait for the client to close too.
      client.close(TRY_AGAIN_LATER, 'too much is being received')
      client.terminate()
    }
  }

  function takeFrame(data: Buffer): void {
    meter.take(data.length)
    if (socket.destroyed) client.dropReceived()
  }

  function screen(data: Buffer, isBinary: boolean): void {
    takeFrame(data)
    if (socket.destroyed) return
    heardAtMs = performance.now()
    pingedAtMs = null
    unfinishedSinceMs = null
    if (!isBinary && data.length === 4) {
      const text = data.toString('latin1')
      if (text === 'PONG') return
      if (text === 'PING') {
        // A client that has not read what was sent learns nothing from a pong behind it.
        if (client.bufferedAmount === 0) client.send('PONG')
        return
      }
    }
    onMessage()
    if (waiting.length === 0 && mayGoOn() && turns.take()) {
      client.pass(data, isBinary)
    } else {
      waiting.push({ data, isBinary })
      waitingBytes += data.length + WAITING_BYTES
      client.pause()
      void goOn()
    }
    settle()
  }

  async function goOn(): Promise<void> {
    if (isGoingOn) return
    isGoingOn = true
    while (waiting.length > 0 && mayGoOn() && client.readyState === WebSocket.OPEN) {
      await turns.next(key)
      // The connection may have closed meanwhile.
      if (waiting.length === 0 || client.readyState !== WebSocket.OPEN) break
      const { data, isBinary } = waiting.shift()!
      waitingBytes -= data.length + WAITING_BYTES
      client.pass(data, isBinary)
      settle()
    }
    isGoingOn = false
    if (waiting.length === 0) client.resume()
  }

  const encoder: Encoder = {
    decode(data) {
      begun = []
      refusedId = null
      if (typeof data !== 'string') throw new Refusal('BAD_INPUT', 'messages are text')
      try {
        judge(data, limits.json)
        const message: unknown = JSON.parse(data)
        const list = Array.isArray(message) ? message : [message]
        for (const call of list) judgeEnvelope(call)
        for (const call of list) begin(call, data.length / list.length)
        return message
      } catch (error) {
        refusedId = idOf(data)
        // Without an id there is no call to answer, so the close says why.
        if (refusedId === null && error instanceof Refusal) {
          client.close(POLICY_VIOLATION, error.message.slice(0, 100))
        }
        throw error
      }
    },
    encode(response) {
      const { id, result, error } = response as { id?: unknown; result?: { type: string }; error?: unknown }
      if (id === null && error !== undefined) {
        // An error without an id answers all calls of the message.
        for (const each of begun) end(each)
        const onlyId = begun.length === 1 ? begun[0] : refusedId
        begun = []
        return JSON.stringify({ ...(response as object), id: onlyId })
      }
      if (result?.type !== 'stopped') end(id)
      return JSON.stringify(response)
    },
  }

  function begin(call: unknown, bytes: number): void {
    const { id, method } = call as { id?: unknown; method?: unknown }
    if (method !== 'query' && method !== 'mutation' && method !== 'subscription') return
    if (typeof id !== 'number' && typeof id !== 'string') return
    begun.push(id)
    const cost = CALL_BYTES + bytes
    calls.set(id, (calls.get(id) ?? 0) + cost)
    callBytes += cost
  }

  function end(id: unknown): void {
    const bytes = calls.get(id)
    if (bytes === undefined) return
    calls.delete(id)
    callBytes = calls.size === 0 ? 0 : callBytes - bytes
    // Not before the answer has been handed over.
    if (waiting.length > 0) setImmediate(() => void goOn())
    settle()
  }

  const outlet: Outlet = {
    key,
    // Not a batch: further calls wait unread.
    isBatch: false,
    account: answers,
    maxBytes: maxAnswerBytes,
    async ready() {
      while (client.bufferedAmount > BACKLOG_BYTES) await sleep(50)
      if (client.readyState !== WebSocket.OPEN) throw new DOMException('the client has left', 'AbortError')
    },
    async taken() {
      while (client.bufferedAmount > BACKLOG_BYTES && client.readyState !== WebSocket.CLOSED) await sleep(20)
      answers.hold(0)
    },
  }

  client.screen = screen
  for (const event of ['ping', 'pong']) client.on(event, takeFrame)
  // The meter gets the bytes before ws does, so that a message that ws emits is no longer counted as unfinished.
  socket.prependListener('data', (chunk: Buffer) => {
    meter.feed(chunk)
    if (meter.unfinishedBytes > 0) unfinishedSinceMs ??= performance.now()
    settle()
  })
  socket.on('drain', () => void goOn())
  client.once('close', () => {
    waiting.length = 0
    incoming[Symbol.dispose]()
    answers[Symbol.dispose]()
  })

  return {
    encoder,
    outlet,
    get calls() {
      return calls.size + waiting.length
    },
    look(nowMs) {
      void goOn()
      if (client.readyState !== WebSocket.OPEN) return
      if (unfinishedSinceMs !== null) {
        if (nowMs - unfinishedSinceMs >= RECEIVE_MS) client.terminate()
        return
      }
      // A client that reads slowly or waits for our answers is alive. Others watch whether it takes what is sent to it.
      if (client.bufferedAmount > 0 || client.isPaused) return
      if (pingedAtMs !== null) {
        if (nowMs - pingedAtMs >= PONG_WAIT_MS) client.terminate()
      } else if (nowMs - heardAtMs >= PING_EVERY_MS) {
        pingedAtMs = nowMs
        client.send('PING')
      }
    },
  }
}

/** @throws Refusal */
function judgeEnvelope(call: unknown): void {
  const { id, params } = (call ?? {}) as { id?: unknown; params?: { path?: unknown } }
  const isLong = (name: unknown) => typeof name === 'string' && name.length > MAX_NAME_LENGTH
  if (isLong(id)) throw new Refusal('BAD_INPUT', `id: at most ${MAX_NAME_LENGTH} characters`)
  if (isLong(params?.path)) throw new Refusal('BAD_INPUT', `path: at most ${MAX_NAME_LENGTH} characters`)
}

/** Reads the id of the first call without parsing: the messages of tRPC's clients begin with it. */
function idOf(text: string): string | number | null {
  const [, id] = /^\[?\{"id":(\d{1,15}|"[\w-]{1,64}")[,}]/.exec(text.slice(0, 2 * MAX_NAME_LENGTH)) ?? []
  return id === undefined ? null : (JSON.parse(id) as string | number)
}
