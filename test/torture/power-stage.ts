// Copies the disk below a server at random moments while clients make archives, and starts another server on the copy.
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, newArchiveKey } from '#contracts/client.ts'
import type { AcceptedEvent, ArchiveEvent, CompleteEvent } from '#contracts/events.ts'
import { createRandom } from '../../client-node/cli/stress-plan.ts'
import { ask, type Coming, open } from '../support/ask.ts'
import { bodyOf, bytes, delayed } from '../support/behaviours.ts'
import { type Origin, startOrigin } from '../support/origin.ts'
import { until } from '../support/wait.ts'
import { openCutDisk } from './cut-disk.ts'
import { lastLines, openServer } from './house.ts'
import type { PowerAsked, PowerOutcome } from './power.ts'
import { between, promised } from './scope.ts'

/** The events of one archive that a client has, and the bytes it has downloaded. */
interface Ledger {
  readonly archiveKey: string
  readonly accepted: AcceptedEvent
  complete: CompleteEvent | null
  /** A download that began with the archive and follows it while it grows. */
  coming: Coming | null
}

/** What a client had when the power failed. */
interface Told extends Omit<Ledger, 'coming'> {
  readonly partial: { readonly etag: string; readonly bytes: Buffer } | null
}

/** Twice this many archives are checked after a cut. They are the newest ones, which have most to lose. */
const JUDGED = 8
const FINISH_WITHIN_MS = 60_000
const FOLLOW = 9007199254740991

const asked = JSON.parse(process.argv[2]!) as PowerAsked
const outcome: PowerOutcome = { cuts: 0, accepted: 0, complete: 0, resumed: 0, begunAgain: 0 }
const random = createRandom(asked.seed)

/** Counts cuts. Sources give other bytes after each cut, so that bytes fetched twice are noticed. */
let epoch = 0

async function main(): Promise<void> {
  await using origin = await startOrigin()
  await using disk = await openCutDisk(asked.directory, asked.fileSystem)
  const env = { SHEAF_RETENTION_MS: '20000', SHEAF_ABANDON_MS: '20000', SHEAF_SPOOL_RESERVE_BYTES: '1000000' }
  await using server = await openServer(env, join(disk.path, 'data'))
  const connection = connect({ url: server.url })
  const ledgers: Ledger[] = []
  const ending = new AbortController()
  let told = 0
  const clients = Promise.all(
    Array.from({ length: asked.clients }, async (_, index) => {
      for (let round = 0; !ending.signal.aborted; round++) {
        await makeOne(origin, `${index}-${round}`, server.url, connection, ledgers, ending.signal, () => told++)
        await sleep(between(random, 0, 600))
      }
    }),
  )
  clients.catch((error) => ending.abort(error))
  const endAt = performance.now() + asked.seconds * 1000
  try {
    while (outcome.cuts < asked.cuts && performance.now() < endAt) {
      await until(() => ledgers.length >= JUDGED || ending.signal.aborted, { timeoutMs: 30_000, what: 'archives' })
      ending.signal.throwIfAborted()
      const before = told
      // The cut comes at a random moment, or right after an event.
      if (random() < 0.5) await sleep(between(random, 0, 400))
      else await until(() => told > before, { timeoutMs: 30_000, everyMs: 1, what: 'an event' })
      const promises = ledgers.slice(-JUDGED * 2).map(snapshotOf)
      await using copy = await disk.cut()
      epoch++
      await judge(promises, copy.path, env)
      outcome.cuts++
      // Older archives are not checked any more, because they expire.
      ledgers.splice(0, Math.max(0, ledgers.length - JUDGED * 2))
    }
  } finally {
    ending.abort()
    await clients.catch(() => {})
    await connection.close()
  }
}

async function makeOne(
  origin: Origin,
  name: string,
  url: string,
  connection: ReturnType<typeof connect>,
  ledgers: Ledger[],
  signal: AbortSignal,
  onTold: () => void,
): Promise<void> {
  const archiveKey = newArchiveKey()
  const entries = Array.from({ length: between(random, 2, 9) }, (_, index) => {
    const sizeBytes = random() < 0.2 ? between(random, 2_200_000, 4_000_000) : between(random, 10, 120_000)
    const path = `/${name}/${index}`
    const ms = index === 0 ? 0 : between(random, 0, 700)
    return origin.serve(
      path,
      delayed(ms, (exchange) => bytes(bodyOf(sizeBytes, `${path} ${epoch}`))(exchange)),
    )
  })
  let ledger: Ledger | null = null
  try {
    for await (const event of connection.createArchive({ archiveKey, entries, checksum: 'sha-256' }, { signal })) {
      onTold()
      if (event.type === 'accepted') {
        const grown = { archiveKey, accepted: event, complete: null, coming: null }
        ledger = grown
        ledgers.push(grown)
        void open(url + event.href).then((coming) => (grown.coming = coming as never))
      }
      if (event.type === 'complete') ledger!.complete = event
      promised(event.type !== 'aborted', () => `an archive was aborted: ${JSON.stringify(event)}`)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    ledger?.coming?.leave()
  }
}

function snapshotOf({ coming, ...ledger }: Ledger): Told {
  const etag = coming?.headers.etag
  const bytes = coming?.received
  return { ...ledger, partial: etag === undefined || !bytes?.length ? null : { etag, bytes } }
}

/** Checks that every promise made before the cut is kept after it. */
async function judge(promises: readonly Told[], path: string, env: Record<string, string>): Promise<void> {
  await using server = await openServer(env, join(path, 'data'))
  const connection = connect({ url: server.url })
  try {
    await Promise.all(promises.map((each) => judgeOne(each, server.url, connection)))
  } catch (error) {
    ;(error as Error).message += `\n${lastLines(server, 30)}`
    throw error
  } finally {
    await connection.close()
  }
}

async function judgeOne(each: Told, url: string, connection: ReturnType<typeof connect>): Promise<void> {
  const { archiveKey, accepted, complete, partial } = each
  const isOver = complete !== null && Date.parse(complete.expiresAt) < Date.now() + 2_000
  if (isOver) return
  const what = `${accepted.archiveId}, told ${complete === null ? 'accepted' : 'complete'}`
  // The download is resumed first, so that the archive may still be growing meanwhile.
  const resuming = partial && goOn(url + accepted.href, partial)
  resuming?.catch(() => {})
  const end = await lastEvent(connection.watchArchive(archiveKey), what)
  promised(end.type === 'complete', () => `${what}: it ended as ${JSON.stringify(end)}`)
  outcome.accepted++
  promised(end.href === accepted.href, `${what}: its href was ${accepted.href} and is ${end.href}`)
  if (complete !== null) {
    promised(end.etag === complete.etag, `${what}: its ETag was ${complete.etag} and is ${end.etag}`)
    promised(end.sha256 === complete.sha256, `${what}: its digest was ${complete.sha256} and is ${end.sha256}`)
    outcome.complete++
  }
  const { body, status, headers: answered } = await ask(url + end.href)
  promised(status === 200 && answered.etag === end.etag, `${what}: ${status}, ETag ${answered.etag}`)
  promised(sha256(body) === end.sha256, `${what}: its bytes are not those of its digest`)
  if (resuming === null || partial === null) return
  const { bytes, etag, isSame } = await resuming
  if (isSame) outcome.resumed++
  else outcome.begunAgain++
  const told = `${what}: continued at ${partial.bytes.length} under ${partial.etag}, and ended under ${etag}`
  promised(sha256(bytes) === end.sha256, `${told} with ${bytes.length} bytes that are not those of its digest`)
}

/** Resumes a download as a client does: again after each break, and under the ETag of the bytes it has. */
async function goOn(url: string, partial: NonNullable<Told['partial']>) {
  let { bytes, etag } = partial
  for (let attempt = 0; ; attempt++) {
    const answer = await ask(url, { headers: { range: `bytes=${bytes.length}-${FOLLOW}`, 'if-range': etag } })
    const { status, body, whole, headers } = answer
    // 416 means that it already has all bytes.
    if (status === 416) return { bytes, etag, isSame: etag === partial.etag }
    promised([200, 206].includes(status), `a download was continued with ${status}`)
    promised(status === 200 || headers.etag === etag, `continued under ${headers.etag} what began under ${etag}`)
    bytes = status === 206 ? Buffer.concat([bytes, body]) : body
    etag = headers.etag!
    if (whole) return { bytes, etag, isSame: etag === partial.etag }
    promised(attempt < 20, 'a download broke off again and again')
  }
}

async function lastEvent(events: AsyncGenerator<ArchiveEvent>, what: string): Promise<ArchiveEvent> {
  let last: ArchiveEvent | null = null
  const end = async () => {
    for await (const event of events) last = event
    return last!
  }
  const late = new AbortController()
  const tooLong = sleep(FINISH_WITHIN_MS, undefined, { signal: late.signal }).then(() =>
    promised(false, () => `${what}: no end within ${FINISH_WITHIN_MS} ms, last told ${JSON.stringify(last)}`),
  )
  tooLong.catch(() => {})
  try {
    return (await Promise.race([end(), tooLong])) as ArchiveEvent
  } finally {
    late.abort()
  }
}

const sha256 = (body: Buffer) => createHash('sha256').update(body).digest('hex')

let broken: string | null = null
try {
  await main()
} catch (error) {
  broken = `after ${outcome.cuts} cuts: ${(error as Error).stack}`
}
process.stdout.write(`${JSON.stringify({ ...outcome, broken })}\n`, () => process.exit(0))
