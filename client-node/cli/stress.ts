// Runs many clients at once against one server and checks every byte that they get. Owns its temporary files.
import { randomInt } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type EntryInput, urlOf } from '#contracts/archive.ts'
import { newArchiveKey } from '#contracts/client.ts'
import type { DirectoryEntry } from '#contracts/formats/zip.ts'
import { fold, initialState, settledFraction } from '#contracts/state.ts'
import { createSheafClient } from '../client.ts'
import { DownloadError } from '../download.ts'
import { type StressCommand, UsageError } from './args.ts'
import { readEntries, type Terminal, writeLine } from './get.ts'
import { printable } from './render.ts'
import { columns, type Outcome, planRounds, tableLine, tableRow, type Visit } from './stress-plan.ts'

interface Checksum {
  crc32: number
  sizeBytes: number
}

/** The checksum of each URL's source; null if it could not be fetched directly. */
type Sources = ReadonlyMap<string, Checksum | null>

/** The server sent a wrong byte, which it must never do. This ends the run. */
class WrongByteError extends Error {
  override readonly name = 'WrongByteError'
}

const GIVE_UP_AFTER_MS = 60_000
const SOURCE_TIMEOUT_MS = 60_000
const SOURCES_AT_ONCE = 8

/** Resolves to the exit code: 0 if all is well, 3 if some clients got no archive. Throws at the first wrong byte. */
export async function runStress(command: StressCommand, terminal: Terminal): Promise<number> {
  const { stdout, signal } = terminal
  const list = await chooseFrom(command, terminal)
  const seed = command.seed ?? randomInt(1, 2 ** 32)
  const rounds = planRounds(list, command, seed)
  const sources = await fetchSources(rounds.flat(), signal)
  const reachable = sources.values().filter((source) => source !== null)
  await writeLine(stdout, `seed ${seed}; ${[...reachable].length} of ${sources.size} sources can be compared`)
  await writeLine(stdout, tableLine(columns))

  await using temp = await createTempDirectory()
  const all: Outcome[] = []
  for (const [index, visits] of rounds.entries()) {
    const outcomes = await runRound(command.server, visits, sources, temp.path, signal)
    all.push(...outcomes)
    await writeLine(stdout, tableLine(tableRow(String(index + 1), outcomes)))
  }
  await writeLine(stdout, tableLine(tableRow('all', all)))

  const failures = all.filter((outcome) => outcome.kind === 'failed')
  const byMessage = Object.groupBy(failures, ({ message }) => message)
  for (const [message, alike] of Object.entries(byMessage)) {
    await writeLine(stdout, `${alike?.length} failed: ${printable(message)}`)
  }
  return failures.length > 0 ? 3 : 0
}

async function chooseFrom({ server, input }: StressCommand, terminal: Terminal): Promise<EntryInput[]> {
  await using client = createSheafClient({ url: server })
  const { samples } = await client.serverInfo({ signal: terminal.signal })
  if (input !== null) return (await readEntries({ urls: [], lists: [input], assumeHttps: false }, terminal)).entries
  if (samples.length === 0) throw new UsageError('the server offers no samples: a list (-i) is needed', 'stress')
  return samples
}

/** The first wrong byte ends all other visits of its round. */
async function runRound(server: string, visits: Visit[], sources: Sources, directory: string, signal: AbortSignal) {
  const ending = new AbortController()
  const scope = AbortSignal.any([signal, ending.signal])
  const running = visits.map(async (visit, index) => {
    try {
      return await runVisit(server, visit, sources, join(directory, String(index)), scope)
    } catch (error) {
      ending.abort(error)
      throw error
    }
  })
  await Promise.allSettled(running)
  scope.throwIfAborted()
  return await Promise.all(running)
}

async function runVisit(server: string, visit: Visit, sources: Sources, path: string, scope: AbortSignal) {
  const { entries, double, leaveAt } = visit
  const archiveKey = newArchiveKey()
  const requests = double ? 2 : 1
  const leaving = new AbortController()
  const signal = AbortSignal.any([scope, leaving.signal])
  const startedAt = performance.now()

  const send = async (target: string) => {
    await using client = createSheafClient({ url: server, giveUpAfterMs: GIVE_UP_AFTER_MS })
    const sealed: DirectoryEntry[] = []
    let state = initialState
    try {
      const saved = await client.saveArchive(
        { archiveKey, entries },
        {
          signal,
          output: target,
          giveUpAfterMs: GIVE_UP_AFTER_MS,
          onEntry: (entry) => sealed.push(entry),
          onEvent: (event) => {
            state = fold(state, event)
            if (leaveAt !== null && settledFraction(state) >= leaveAt) leaving.abort()
          },
        },
      )
      const failed = new Set(state.failures.map(({ index }) => index))
      compare(
        entries.filter((_, index) => !failed.has(index)),
        sealed,
        sources,
      )
      return { ...saved, failedEntries: failed.size }
    } catch (error) {
      if (leaving.signal.aborted && visit.cancels) await client.cancelArchive(archiveKey).catch(() => {})
      throw error
    }
  }

  const targets = double ? [`${path}.zip`, `${path}-again.zip`] : [`${path}.zip`]
  try {
    const settled = await Promise.allSettled(targets.map(send))
    const saved = settled.map((result) => {
      if (result.status === 'rejected') throw result.reason
      return result.value
    })
    const durationMs = performance.now() - startedAt
    const [first, second] = saved
    if (first === undefined) throw new Error('a visit without a request')
    if (second !== undefined) await compareFiles(targets[0]!, targets[1]!, first.etag, second.etag)
    const { sizeBytes: bytes, failedEntries } = first
    return { kind: 'archive', requests, durationMs, bytes: bytes * requests, failedEntries } satisfies Outcome
  } catch (error) {
    scope.throwIfAborted()
    if (leaving.signal.aborted) return { kind: 'left', requests } satisfies Outcome
    if (error instanceof WrongByteError) throw error
    if (error instanceof DownloadError && error.code === 'CORRUPT') throw new WrongByteError(error.message)
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    return { kind: 'failed', requests, message } satisfies Outcome
  } finally {
    await Promise.all(targets.map((target) => rm(target, { force: true })))
  }
}

/** Entries are in the order of the manifest, so the n-th sealed entry is the n-th that did not fail. */
function compare(wanted: readonly EntryInput[], sealed: readonly DirectoryEntry[], sources: Sources): void {
  if (wanted.length !== sealed.length) {
    throw new WrongByteError(`${sealed.length} entries in the archive, and ${wanted.length} that did not fail`)
  }
  for (const [index, entry] of wanted.entries()) {
    const url = urlOf(entry)
    const source = sources.get(url)
    const found = sealed[index]!
    if (!source || (found.crc32 === source.crc32 && found.sizeBytes === source.sizeBytes)) continue
    const reported = (it: Checksum) => `${it.sizeBytes} bytes with checksum ${it.crc32.toString(16)}`
    throw new WrongByteError(`"${found.name}" of ${url} has ${reported(found)}, its source has ${reported(source)}`)
  }
}

async function compareFiles(a: string, b: string, etagOfA: string | null, etagOfB: string | null): Promise<void> {
  const [checksumOfA, checksumOfB] = await Promise.all([a, b].map((path) => checksumOf(createReadStream(path))))
  const same = checksumOfA?.crc32 === checksumOfB?.crc32 && checksumOfA?.sizeBytes === checksumOfB?.sizeBytes
  if (!same || etagOfA !== etagOfB) throw new WrongByteError('the same key sent twice gave two different archives')
}

/** Fetches each distinct URL once, directly from its origin. */
async function fetchSources(visits: readonly Visit[], signal: AbortSignal): Promise<Sources> {
  const urls = new Set(visits.flatMap(({ entries }) => entries.map(urlOf)))
  const sources = new Map<string, Checksum | null>()
  const waiting = urls.values()
  const fetchSome = async () => {
    // All loops share one iterator, so each takes a URL that no other has taken.
    for (const url of waiting) sources.set(url, await fetchSource(url, signal))
  }
  await Promise.all(Array.from({ length: SOURCES_AT_ONCE }, fetchSome))
  return sources
}

async function fetchSource(url: string, signal: AbortSignal): Promise<Checksum | null> {
  try {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(SOURCE_TIMEOUT_MS)])
    const answer = await fetch(url, { signal: deadline, headers: { 'accept-encoding': 'identity' } })
    if (answer.ok && answer.body) return await checksumOf(answer.body)
    await answer.body?.cancel()
  } catch {
    signal.throwIfAborted()
  }
  return null
}

async function checksumOf(chunks: AsyncIterable<Uint8Array>): Promise<Checksum> {
  let checksum = 0
  let sizeBytes = 0
  for await (const chunk of chunks) {
    checksum = crc32(chunk, checksum)
    sizeBytes += chunk.length
  }
  return { crc32: checksum, sizeBytes }
}

async function createTempDirectory(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'sheaf-stress-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}
