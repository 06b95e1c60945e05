// The archive service: accepts, watches, lists, cancels and opens archives for reading. Knows no transport.
import { setImmediate as breathe } from 'node:timers/promises'
import type { ArchiveApi, Caller, ServerInfo } from '#contracts/api.ts'
import type { ArchiveId, ArchiveKey, CreateArchiveInput, EntryInput } from '#contracts/archive.ts'
import { Refusal } from '#contracts/failures.ts'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { ArchiveRecord, ArchiveRequest, Journal } from '../ports/journal.ts'
import { NoSpaceError } from '../ports/no-space.ts'
import type { Spool, SpoolRoom } from '../ports/spool.ts'
import type { Attendance } from './attendance.ts'
import { pageOfEntries } from './list-entries.ts'
import { archiveIdOf, manifestBytes, manifestHashOf, withDefaults } from './manifest.ts'
import type { Planner } from './plan.ts'
import { type ArchiveReading, openReading } from './reading.ts'
import type { Runner } from './runner.ts'
import { acceptedEvent, tail } from './tail.ts'

export interface ServiceOptions {
  journal: Journal
  spool: Spool & SpoolRoom
  runner: Runner
  attendance: Attendance
  planner: Planner
  clock: Clock
  log: Log
  info: ServerInfo
  /** Builds, waiting ones included; beyond it submissions are refused as BUSY. */
  maxUnfinished: number
  /** Of these, from one client address. */
  maxPerClient: number
}

export interface ArchiveService extends ArchiveApi {
  /** Null where there is nothing (more) to download under this id. */
  openReading(archiveId: ArchiveId): Promise<ArchiveReading | null>
  /** Refuses new work from now on, with the typed reason. */
  startDraining(): void
}

/** With less than this nearly every archive would be taken only to be aborted; more would keep a small spool empty. */
const LEAST_ROOM_BYTES = 1024 * 1024
/** Each step of accepting a larger manifest takes a turn of the loop of its own. */
const LARGE_MANIFEST_BYTES = 64 * 1024
/** Space comes back as archives expire, which is looked for every minute at most: sooner is hardly worth a call. */
const NO_SPACE_RETRY_MS = 10_000

export function createArchiveService(options: ServiceOptions): ArchiveService {
  const { journal, spool, runner, attendance, planner, clock, log, info, maxUnfinished, maxPerClient } = options
  const { limits } = info
  let draining = false

  async function find(archiveKey: ArchiveKey, { principal }: Caller): Promise<ArchiveRecord> {
    const record = await journal.get(archiveIdOf(principal, archiveKey))
    if (record === null) throw new Refusal('NOT_FOUND')
    if (record.swept) throw new Refusal('GONE')
    return record
  }

  /** An accepted archive that is not over is always being built, whatever ended an earlier build of it. */
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

  async function accept(request: ArchiveRequest, entries: readonly EntryInput[]) {
    if ((await spool.room()).freeBytes < LEAST_ROOM_BYTES) throw noSpace()
    try {
      return await journal.accept(request, entries)
    } catch (error) {
      throw error instanceof NoSpaceError ? noSpace() : error
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
      let record = await journal.get(archiveId)
      if (record === null) {
        if (runner.size >= maxUnfinished || runner.countOf(caller.address) >= maxPerClient) throw new Refusal('BUSY')
        const { entries, ...asked } = withDefaults(input)
        const acceptedAtMs = clock.wallMs()
        const request: ArchiveRequest = {
          archiveId,
          manifestHash,
          ...asked,
          totalEntries: entries.length,
          acceptedAtMs,
        }
        const accepted = await accept(request, entries)
        record = accepted.record
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
      yield* tail({ journal, buildOf, archiveId: record.archiveId, after, signal })
    },

    async listEntries(input, caller) {
      const { archiveId } = await find(input.archiveKey, caller)
      if (runner.get(archiveId) !== null) attendance.touch(archiveId)
      return pageOfEntries(journal, runner.get(archiveId), archiveId, input)
    },

    async cancel({ archiveKey }, caller) {
      const record = await find(archiveKey, caller)
      if (record.terminal !== null) return false
      return runner.add(record).abort('CANCELLED')
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

    async openReading(archiveId) {
      const record = await journal.get(archiveId)
      if (record === null || record.swept || record.terminal?.type === 'aborted') return null
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
