// The archive service: accepts, watches, lists, cancels and opens archives for reading. Knows no transport.
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { setImmediate as breathe } from 'node:timers/promises'
import type { ArchiveApi, Caller, ServerInfo } from '#contracts/api.ts'
import type { ArchiveKey, CreateArchiveInput, EntryInput } from '#contracts/archive.ts'
import { Refusal } from '#contracts/failures.ts'
import { parseArchiveAddress } from '#contracts/wire.ts'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { ArchiveRecord, ArchiveRequest, Journal } from '../ports/journal.ts'
import { NoSpaceError } from '../ports/no-space.ts'
import type { Spool, SpoolRoom } from '../ports/spool.ts'
import { UnavailableError } from '../ports/unavailable.ts'
import { type Admission, NO_SPACE_RETRY_MS } from './admission.ts'
import type { Attendance } from './attendance.ts'
import type { Expiry } from './expiry.ts'
import { archiveIdOf, manifestBytes, manifestHashOf, withDefaults } from './manifest.ts'
import type { Planner } from './plan.ts'
import type { Runner } from './runner.ts'
import { pageOfEntries } from './views/list-entries.ts'
import { type ArchiveReading, openReading } from './views/reading.ts'
import { acceptedEvent, tail } from './views/tail.ts'

export interface ServiceOptions {
  journal: Journal
  spool: Spool & SpoolRoom
  runner: Runner
  attendance: Attendance
  planner: Planner
  clock: Clock
  expiry: Expiry
  log: Log
  info: ServerInfo
  admission: Admission
  /** How long the outcome of an aborted archive is kept. */
  abortedRetentionMs: number
}

export interface ArchiveService extends ArchiveApi {
  /** Opens the archive at the address that its href holds. Null if there is nothing to download, or not any more. */
  openReading(address: string): Promise<ArchiveReading | null>
  /** Refuses new work from now on, with the typed reason. */
  startDraining(): void
}

/** With less free room, nearly every archive would be accepted and then aborted. More would keep a small spool empty. */
const MIN_ROOM_BYTES = 1024 * 1024
const UNAVAILABLE_RETRY_MS = 2_000
/** After this, `cancel` ends the archive in the journal itself. The build stops when it appends its next fact. */
const CANCEL_PATIENCE_MS = 5_000
/** A manifest above this is accepted in several turns of the event loop, so that others do not wait for all steps. */
const LARGE_MANIFEST_BYTES = 64 * 1024

/** Rejects with a refusal if journal or spool is unavailable for now, so that the caller tries again. */
async function whileAvailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw asRefusal(error)
  }
}

function asRefusal(error: unknown): unknown {
  return error instanceof UnavailableError ? new Refusal('BUSY', undefined, UNAVAILABLE_RETRY_MS) : error
}

export function createArchiveService(options: ServiceOptions): ArchiveService {
  const { journal, spool, runner, attendance, planner, clock, expiry, log, info, admission, abortedRetentionMs } =
    options
  const { limits } = info
  let draining = false

  async function find(archiveKey: ArchiveKey, { principal }: Caller): Promise<ArchiveRecord> {
    const record = await whileAvailable(journal.get(archiveIdOf(principal, archiveKey)))
    if (record === null) throw new Refusal('NOT_FOUND')
    if (record.swept) throw new Refusal('GONE')
    return record
  }

  /** Every request for an unfinished archive makes sure that it is built, because an earlier build may have stopped. */
  function ensureBuilding(record: ArchiveRecord, client = ''): void {
    if (record.terminal !== null || draining) return
    attendance.touch(record.archiveId)
    runner.add(record, client)
  }

  function refuseUnfit({
    entries,
    format = 'zip',
    compression = 'store',
  }: Omit<CreateArchiveInput, 'archiveKey'>): void {
    if (format !== 'zip' && compression !== 'store') {
      throw new Refusal('BAD_INPUT', `compression: only a zip compresses its entries, not a ${format}`)
    }
    if (entries.length > limits.maxEntries) throw new Refusal('TOO_MANY_ENTRIES', `at most ${limits.maxEntries}`)
    const bytes = manifestBytes(entries)
    if (bytes > limits.maxManifestBytes) {
      throw new Refusal('MANIFEST_TOO_LARGE', `${bytes} bytes, at most ${limits.maxManifestBytes}`)
    }
  }

  const noSpace = () => new Refusal('NO_SPACE', undefined, NO_SPACE_RETRY_MS)

  async function accept(request: ArchiveRequest, entries: readonly EntryInput[], client: string) {
    const { freeBytes } = await whileAvailable(spool.room())
    if (freeBytes < MIN_ROOM_BYTES) throw noSpace()
    try {
      return await journal.accept(request, entries, client)
    } catch (error) {
      throw error instanceof NoSpaceError ? noSpace() : asRefusal(error)
    }
  }

  return {
    async submit(input, caller) {
      if (draining) throw new Refusal('SHUTTING_DOWN')
      refuseUnfit(input)
      const isLarge = manifestBytes(input.entries) > LARGE_MANIFEST_BYTES
      const archiveId = archiveIdOf(caller.principal, input.archiveKey)
      if (isLarge) await breathe()
      const manifestHash = manifestHashOf(input)
      if (isLarge) await breathe()
      let record = await whileAvailable(journal.get(archiveId))
      if (record === null) {
        const { entries, ...asked } = withDefaults(input)
        using _ = admission.reserve(archiveId, caller.address, manifestBytes(entries), entries.length)
        const acceptedAtMs = clock.wallMs()
        const request: ArchiveRequest = {
          archiveId,
          manifestHash,
          ...asked,
          totalEntries: entries.length,
          acceptedAtMs,
          nonce: randomBytes(8).toString('base64url'),
        }
        const accepted = await accept(request, entries, caller.address)
        record = accepted.record
        admission.accepted(record)
        if (accepted.created)
          log.info('archive accepted', { archive: archiveId, entries: entries.length, from: caller.address })
      }
      if (record.swept) throw new Refusal('GONE')
      if (record.manifestHash !== manifestHash) throw new Refusal('KEY_CONFLICT')
      if (isLarge) await breathe()
      ensureBuilding(record, caller.address)
      return acceptedEvent(record)
    },

    async *watch({ archiveKey, lastEventId }, caller, signal) {
      const record = await find(archiveKey, caller)
      using _ = attendance.attend(record.archiveId)
      ensureBuilding(record, caller.address)
      const after = lastEventId == null ? null : Number(lastEventId)
      const buildOf = (archiveId: string) => runner.get(archiveId)
      try {
        yield* tail({ journal, buildOf, archiveId: record.archiveId, after, signal })
      } catch (error) {
        throw asRefusal(error)
      }
    },

    async listEntries(input, caller) {
      const { archiveId } = await find(input.archiveKey, caller)
      if (runner.get(archiveId) !== null) attendance.touch(archiveId)
      return whileAvailable(pageOfEntries(journal, runner.get(archiveId), archiveId, input))
    },

    async cancel({ archiveKey }, caller) {
      const record = await find(archiveKey, caller)
      if (record.terminal !== null) return false
      const { archiveId } = record
      const build = runner.get(archiveId)
      if (build !== null && (await answersIn(CANCEL_PATIENCE_MS, build.abort('CANCELLED')))) return true
      const expiresAtMs = clock.wallMs() + abortedRetentionMs
      const hasEnded = await whileAvailable(journal.end(archiveId, { type: 'aborted', code: 'CANCELLED', expiresAtMs }))
      // If a build still writes, the next sweep removes its bytes.
      if (hasEnded && runner.get(archiveId) === null) {
        await spool.remove(archiveId).catch(() => {})
        await admission.ended(archiveId)
      }
      return hasEnded
    },

    async plan(input, caller, signal) {
      if (draining) throw new Refusal('SHUTTING_DOWN')
      refuseUnfit(input)
      return planner(input, caller, signal)
    },

    echo(text, { address }) {
      log.info('echo', { from: address, text })
      return text
    },

    info: () => info,

    async openReading(address) {
      const asked = parseArchiveAddress(address)
      const record = asked === null ? null : await journal.get(asked.archiveId)
      if (record === null || record.swept || record.terminal?.type === 'aborted') return null
      if (!isSame(asked!.nonce, record.nonce)) return null
      // An expired archive is not opened, or new downloads could keep it for ever. Downloads under way have a deadline.
      if (record.terminal !== null && record.terminal.expiresAtMs <= expiry()) return null
      const { archiveId } = record
      const attending = attendance.attend(archiveId)
      ensureBuilding(record)
      const closed = () => attending[Symbol.dispose]()
      const reading = openReading({ record, build: runner.get(archiveId), spool, closed })
      if (reading === null) closed()
      return reading
    },

    startDraining() {
      draining = true
    },
  }
}

/** Compares in constant time: somebody who read the id in a log must not find out the nonce by measuring. */
function isSame(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}

/** False if the answer is false, or does not come in time. */
async function answersIn(ms: number, answer: Promise<boolean>): Promise<boolean> {
  const timer = Promise.withResolvers<boolean>()
  const timeout = setTimeout(() => timer.resolve(false), ms)
  return Promise.race([answer, timer.promise]).finally(() => clearTimeout(timeout))
}
