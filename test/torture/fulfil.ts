// Fulfils one wish: asks for the archive, watches it, downloads it, and checks every event and every byte.
import { readFile, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { crc32 } from 'node:zlib'
import type { DirectoryEntry } from '#contracts/formats/zip.ts'
import {
  ArchiveAbortedError,
  type ArchiveEvent,
  type CompleteEvent,
  createSheafClient,
  DownloadError,
  type FileFailedEvent,
  fold,
  initialState,
  isTerminal,
  RefusedError,
  type SheafClient,
  settledFraction,
} from '../../client-node/index.ts'
import { readTar, verifyZip } from '../support/unpack.ts'
import { isSound, type Wish } from './catalogue.ts'
import { BrokenPromise, promised } from './scope.ts'

export interface FulfilOptions {
  readonly url: string
  /** Prefix of the files that are made, and removed at the end. */
  readonly path: string
  readonly signal?: AbortSignal
  /** Is called for every event. */
  readonly onEvent?: () => void
  /** If true, other people's programs also verify a zip. */
  readonly thoroughly?: boolean
}

export interface Fulfilled {
  readonly outcome: 'complete' | ArchiveAbortedError['event']['code']
  readonly archiveId: string
  readonly complete: CompleteEvent | null
  readonly failures: number
  /** How often the connection to the server was lost. */
  readonly lost: number
  readonly receivedBytes: number
}

/** Much longer than any proof keeps a server down. */
const GIVE_UP_AFTER_MS = 120_000

/** @throws BrokenPromise, or the error that stopped the client */
export async function fulfil(wish: Wish, options: FulfilOptions): Promise<Fulfilled> {
  const paths = [`${options.path}-1.${wish.format}`, `${options.path}-2.${wish.format}`] as const
  try {
    const [first, second] = await settledAll([
      send(wish, paths[0], options),
      ...(wish.double ? [send(wish, paths[1], options)] : []),
    ])
    if (first!.complete !== null) {
      if (second === undefined) await downloadAgain(first!, paths[1], options)
      await compareFiles(...paths)
      if (options.thoroughly && wish.format === 'zip') await verifyZip(paths[0])
    }
    return first!
  } finally {
    await Promise.all(paths.map((path) => rm(path, { force: true })))
  }
}

/** Like Promise.all, but when it rejects no promise is still running. */
async function settledAll<T>(promises: Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}

async function send(wish: Wish, path: string, { url, signal, onEvent }: FulfilOptions): Promise<Fulfilled> {
  let lost = 0
  await using client = createSheafClient({
    url,
    giveUpAfterMs: GIVE_UP_AFTER_MS,
    onConnectionChange: (reason) => {
      if (reason !== null) lost++
    },
  })
  const { archiveKey, format, sources, cancelAt } = wish
  const entries = sources.map(({ url }) => url)
  const told: ArchiveEvent[] = []
  const sealed: DirectoryEntry[] = []
  let cancelled: Promise<boolean> | null = null
  let state = initialState
  let outcome: Fulfilled['outcome'] = 'complete'
  let receivedBytes = 0
  try {
    const saved = await client.saveArchive(
      { archiveKey, entries, format },
      {
        signal,
        output: path,
        giveUpAfterMs: GIVE_UP_AFTER_MS,
        onEntry: (entry) => sealed.push(entry),
        onEvent(event) {
          onEvent?.()
          told.push(event)
          state = fold(state, event)
          if (cancelAt !== null && settledFraction(state) >= cancelAt) cancelled ??= cancel(client, archiveKey, signal)
        },
      },
    )
    receivedBytes = saved.sizeBytes
    const wanted = sources.filter(isSound)
    const found = format === 'zip' ? sealed : await tarChecksums(path)
    promised(
      isDeepStrictEqual(found.map(checksum), wanted.map(checksum)),
      () => `entries are ${JSON.stringify(found.map(checksum))}, not ${JSON.stringify(wanted.map(checksum))}`,
    )
  } catch (error) {
    const aborted =
      error instanceof ArchiveAbortedError ? error.event : await abortBehind(error, client, archiveKey, told)
    if (aborted === null) throw error
    outcome = aborted.code
    promised(outcome !== 'CANCELLED' || cancelled !== null, 'an archive was cancelled by nobody')
  }
  const acknowledged = await (cancelled as Promise<boolean> | null)
  promised(!acknowledged || outcome === 'CANCELLED', `a cancelled archive ended as ${outcome}`)
  checkTold(wish, told, outcome === 'complete')
  await checkToldAgain(client, archiveKey, told, signal)
  const accepted = told.find((event) => event.type === 'accepted')!
  const complete = told.find((event) => event.type === 'complete') ?? null
  return { outcome, archiveId: accepted.archiveId, complete, failures: state.failures.length, lost, receivedBytes }
}

/** A download may get a 404 before the watcher has the `aborted` event. This reads the remaining events and returns that one. */
async function abortBehind(error: unknown, client: SheafClient, archiveKey: string, told: ArchiveEvent[]) {
  if (!(error instanceof DownloadError) || error.code !== 'MISSING') return null
  const heard = told.length
  for await (const event of client.watchArchive(archiveKey)) {
    const isKnown =
      event.type === 'file-failed' && told.some((it) => it.type === 'file-failed' && it.index === event.index)
    if (!isKnown && (event.type !== 'accepted' || heard === 0)) told.push(event)
  }
  return told.find((event) => event.type === 'aborted') ?? null
}

const checksum = ({ crc32, sizeBytes }: { crc32: number; sizeBytes: number }) => [sizeBytes, crc32]

async function tarChecksums(path: string) {
  return (await readTar(path)).map(({ body, size }) => ({ crc32: crc32(body), sizeBytes: size }))
}

/** Checks that exactly the failing sources failed, with their codes, and that no event came twice. */
function checkTold({ sources }: Wish, told: readonly ArchiveEvent[], isComplete: boolean): void {
  const failed = told.filter((event) => event.type === 'file-failed')
  for (const { index, code, url } of failed) {
    const source = sources[index]
    const wanted = source === undefined || isSound(source) ? 'none' : source.code
    promised(code === wanted, `${url} failed with ${code}, expected is ${wanted}`)
  }
  const indices = failed.map(({ index }) => index)
  promised(new Set(indices).size === indices.length, `failures told more than once: ${indices.join(' ')}`)
  const mustFail = sources.filter((source) => !isSound(source)).length
  promised(!isComplete || indices.length === mustFail, `${indices.length} failures were told of ${mustFail}`)
  for (const [type, events] of [
    ['accepted', told.filter((event) => event.type === 'accepted')],
    ['the end', told.filter(isTerminal)],
  ] as const) {
    promised(events.length === 1, `${type} was told ${events.length} times`)
  }
}

/** Checks that a later watcher gets the same failures and the same end. */
async function checkToldAgain(
  client: SheafClient,
  archiveKey: string,
  told: readonly ArchiveEvent[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const again: ArchiveEvent[] = []
  for await (const event of client.watchArchive(archiveKey, { signal })) again.push(event)
  const facts = (events: readonly ArchiveEvent[]) => ({
    failures: events
      .filter((event): event is FileFailedEvent => event.type === 'file-failed')
      .sort((a, b) => a.index - b.index),
    end: events.filter(isTerminal),
  })
  const [first, second] = [facts(told), facts(again)]
  promised(isDeepStrictEqual(second.end, first.end), () => `two ends: ${JSON.stringify([first.end, second.end])}`)
  if (first.end[0]?.type !== 'complete') return
  promised(isDeepStrictEqual(second.failures, first.failures), 'a second watcher is told of other failures')
}

/** Repeats the call until it is answered. It is idempotent. */
async function cancel(client: SheafClient, archiveKey: string, signal: AbortSignal | undefined): Promise<boolean> {
  const giveUpAt = performance.now() + GIVE_UP_AFTER_MS
  for (;;) {
    try {
      return await client.cancelArchive(archiveKey, { signal })
    } catch (error) {
      if (signal?.aborted || performance.now() > giveUpAt) return false
      const mayRepeat = !(error instanceof RefusedError) || error.refusal.retryable
      if (!mayRepeat) throw new BrokenPromise('an accepted archive could not be cancelled', { cause: error })
      await sleep(200)
    }
  }
}

async function downloadAgain({ complete }: Fulfilled, path: string, { url, signal }: FulfilOptions): Promise<void> {
  await using client = createSheafClient({ url, giveUpAfterMs: GIVE_UP_AFTER_MS })
  const { etag } = await client.download(complete!, path, { signal, giveUpAfterMs: GIVE_UP_AFTER_MS })
  promised(etag === complete!.etag, `the ETag was ${complete!.etag} and is ${etag}`)
}

async function compareFiles(first: string, second: string): Promise<void> {
  const [a, b] = await Promise.all([readFile(first), readFile(second)])
  promised(a.equals(b), `a second download differs: ${a.length} and ${b.length} bytes`)
}
