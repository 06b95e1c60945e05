// The procedures of sheaf over an injected ArchiveApi. Only this file imports @trpc/server; clients import its type.
import { initTRPC, TRPCError, tracked } from '@trpc/server'
import { ZodError } from 'zod'
import type { ArchiveApi, Caller, NumberedEvent } from './api.ts'
import {
  cancelArchiveInputSchema,
  createArchiveInputSchema,
  echoInputSchema,
  listEntriesInputSchema,
  PROTOCOL,
  planArchiveInputSchema,
  watchArchiveInputSchema,
} from './archive.ts'
import { Refusal, type RefusalData, refusals } from './failures.ts'
import { openEnvelope, transformer, UNFIT } from './wire.ts'

export interface RouterContext {
  api: ArchiveApi
  caller: Caller
  /** The protocol that the client named; null if it named none. */
  protocol: string | null
  /** False for a GET, which a mere link or picture can send: it may read and watch, but start or change nothing. */
  mayAct: boolean
  /** Aborts when the connection is gone. tRPC does not report that to a query over a websocket. */
  gone: AbortSignal
  /** Resolves once the client has read enough for the next event. Rejects if it is dropped for reading too slowly. */
  readyForNext(signal: AbortSignal): Promise<void>
}

const t = initTRPC.context<RouterContext>().create({
  transformer: { input: { ...transformer, deserialize: openEnvelope }, output: transformer },
  isDev: false,
  sse: { ping: { enabled: true, intervalMs: 15_000 }, client: { reconnectAfterInactivityMs: 60_000 } },
  errorFormatter({ shape, error }) {
    const refusal = refusalOf(error)
    const masked = refusal === null && error.code === 'INTERNAL_SERVER_ERROR'
    return {
      code: shape.code,
      message: refusal?.message ?? (masked ? 'internal error' : shape.message.slice(0, MAX_REPORTED_LENGTH)),
      data: {
        code: shape.data.code,
        httpStatus: refusal === null ? shape.data.httpStatus : refusals[refusal.code].httpStatus,
        path: shape.data.path?.slice(0, MAX_REPORTED_LENGTH),
        /** The typed reason, if the call was refused on purpose. */
        refusal,
      },
    }
  },
})

function refusalOf(error: TRPCError): RefusalData | null {
  if (error.cause instanceof Refusal) return error.cause.toData()
  if (error.code === 'PAYLOAD_TOO_LARGE') return new Refusal('MANIFEST_TOO_LARGE').toData()
  if (error.cause instanceof ZodError) return new Refusal('BAD_INPUT', firstIssues(error.cause)).toData()
  return error.code === 'BAD_REQUEST' || error.code === 'PARSE_ERROR' ? new Refusal('BAD_INPUT').toData() : null
}

/** A client may send a fault of any length. The answer that quotes it must not be as long. */
const MAX_REPORTED_LENGTH = 500

function firstIssues({ issues }: ZodError): string {
  const reported = issues
    .slice(0, 3)
    .map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message))
  return reported.join('; ').slice(0, MAX_REPORTED_LENGTH)
}

const trpcCodes = {
  400: 'BAD_REQUEST',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  412: 'PRECONDITION_FAILED',
  413: 'PAYLOAD_TOO_LARGE',
  429: 'TOO_MANY_REQUESTS',
  503: 'SERVICE_UNAVAILABLE',
} as const satisfies Record<(typeof refusals)[keyof typeof refusals]['httpStatus'], TRPCError['code']>

/** Gives a refusal its transport code, so that HTTP answers with the right status. */
export function asTrpcError(cause: unknown): unknown {
  if (!(cause instanceof Refusal)) return cause
  return new TRPCError({ code: trpcCodes[refusals[cause.code].httpStatus], message: cause.message, cause })
}

const procedure = t.procedure.use(async ({ ctx, next, getRawInput }) => {
  if (ctx.protocol !== null && ctx.protocol !== String(PROTOCOL)) {
    throw asTrpcError(new Refusal('PROTOCOL_MISMATCH', `this server speaks protocol ${PROTOCOL}`))
  }
  const input = await getRawInput()
  if (typeof input === 'object' && input !== null && UNFIT in input) {
    throw asTrpcError(new Refusal('BAD_INPUT', String(input[UNFIT])))
  }
  const result = await next()
  if (!result.ok && result.error.cause instanceof Refusal) throw asTrpcError(result.error.cause)
  return result
})

/** @throws TRPCError, 405 */
function refusePassive({ mayAct }: RouterContext, what: string): void {
  if (!mayAct) throw new TRPCError({ code: 'METHOD_NOT_SUPPORTED', message: `${what} is not for GET` })
}

/** Gives a subscription what its client sent, because tRPC keeps that for as long as the subscription lasts. */
const holding = procedure.use(async ({ getRawInput, next }) => next({ ctx: { sent: await getRawInput() } }))

/** Frees the entries of a manifest, which are not needed once the manifest is durable. */
function letGo(sent: unknown): void {
  if (typeof sent === 'object' && sent !== null && 'entries' in sent) sent.entries = []
}

/** Yields events as fast as the client reads them, each with its cursor. */
async function* numbered(events: AsyncIterable<NumberedEvent>, ctx: RouterContext, signal: AbortSignal) {
  try {
    for await (const { id, event } of events) {
      await ctx.readyForNext(signal)
      yield tracked(id, event)
    }
  } catch (error) {
    if (signal.aborted) return
    throw asTrpcError(error)
  }
}

/** Calls only while the client is there and reads. A client that has left needs no answer; that is not a failure. */
async function whileThere<T>(
  ctx: RouterContext,
  signal: AbortSignal,
  call: (gone: AbortSignal) => Promise<T>,
): Promise<T> {
  try {
    const gone = AbortSignal.any([signal, ctx.gone])
    await ctx.readyForNext(gone)
    return await call(gone)
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error
    throw new TRPCError({ code: 'CLIENT_CLOSED_REQUEST', cause: error })
  }
}

/** Both transports pass a signal. Only a call inside this process may leave it out. */
const neverAborted = () => new AbortController().signal

export function createRouter() {
  return t.router({
    /** Submits the manifest, then watches it. Clients use it over the websocket. */
    createArchive: holding.input(createArchiveInputSchema).subscription(async function* ({
      input,
      ctx,
      signal = neverAborted(),
    }) {
      refusePassive(ctx, 'createArchive')
      const { archiveKey, lastEventId } = input
      async function* events() {
        await ctx.api.submit(input, ctx.caller)
        for (const sent of [input, ctx.sent]) letGo(sent)
        yield* ctx.api.watch({ archiveKey, lastEventId }, ctx.caller, signal)
      }
      yield* numbered(events(), ctx, signal)
    }),

    /** Makes the manifest durable and starts the build; `watchArchive` reports the rest. Safe to repeat. */
    submitArchive: procedure
      .input(createArchiveInputSchema.omit({ lastEventId: true }))
      .mutation(({ input, ctx }) => ctx.api.submit(input, ctx.caller)),

    watchArchive: procedure.input(watchArchiveInputSchema).subscription(async function* ({
      input,
      ctx,
      signal = neverAborted(),
    }) {
      yield* numbered(ctx.api.watch(input, ctx.caller, signal), ctx, signal)
    }),

    listEntries: procedure
      .input(listEntriesInputSchema)
      .query(({ input, ctx }) => ctx.api.listEntries(input, ctx.caller)),

    cancelArchive: procedure.input(cancelArchiveInputSchema).mutation(async ({ input, ctx }) => ({
      cancelled: await ctx.api.cancel(input, ctx.caller),
    })),

    /** A dry run: reports which entries would be in the archive, with which names and sizes. */
    planArchive: procedure.input(planArchiveInputSchema).query(({ input, ctx, signal = neverAborted() }) => {
      if (input.head) refusePassive(ctx, 'a plan that asks origins')
      return whileThere(ctx, signal, (gone) => ctx.api.plan(input, ctx.caller, gone))
    }),

    /** Logs the text and sends it back, to show that the server answers. */
    echo: procedure
      .input(echoInputSchema)
      .mutation(({ input, ctx }) => ({ text: ctx.api.echo(input.text, ctx.caller) })),

    serverInfo: procedure.query(({ ctx }) => ctx.api.info()),
  })
}

export type AppRouter = ReturnType<typeof createRouter>
