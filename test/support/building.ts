// A place to run builds without a server: real journal, spool and fetcher. Its directory outlives them, as it does a restart.
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EntryInput } from '#contracts/archive.ts'
import { createDiskSpool } from '../../server/adapters/disk/spool.ts'
import { createSqliteJournal } from '../../server/adapters/sqlite/journal.ts'
import { Build } from '../../server/archives/build/build.ts'
import type { BuildLimits } from '../../server/archives/build/build-deps.ts'
import { createLayout, readLayout } from '../../server/archives/bytes/layout.ts'
import { createStagingMemory, type StagingMemory } from '../../server/archives/bytes/staging-memory.ts'
import type { FetchDispatcher } from '../../server/fetch/dispatcher.ts'
import { systemClock } from '../../server/lib/clock.ts'
import { createLog } from '../../server/lib/log.ts'
import type { ArchiveRecord, ArchiveRequest, Fact, Journal, Stored } from '../../server/ports/journal.ts'
import type { Spool, SpoolRoom } from '../../server/ports/spool.ts'
import { createDeflater } from '../../server/zip/deflate.ts'
import { requestOf } from './archives.ts'
import { type FetchingOptions, startFetching } from './fetching.ts'
import { tempDirectory } from './temp.ts'
import { readTar, readZip, type TarMember, verifyZip, type ZipMember } from './unpack.ts'

export interface HouseOptions extends FetchingOptions {
  build?: Partial<BuildLimits>
  stagingBytes?: number
}

export interface House extends AsyncDisposable {
  readonly journal: Journal
  readonly spool: Spool & SpoolRoom
  readonly staging: StagingMemory
  /** The slabs of the sockets that bodies arrive on. */
  readonly slabs: FetchDispatcher['slabs']
  /** Closes those sockets for good: nothing can be dialled any more. */
  cutOff(): Promise<void>
  /** The directory of the spool. */
  readonly directory: string
  readonly log: string
  accept(entries: readonly EntryInput[], overrides?: Partial<ArchiveRequest>): Promise<ArchiveRecord>
  /**
   * Starts to build an accepted archive and does not wait: its `ended` resolves at the end. The build goes on from where
   * `record` says the archive stands, which is by default what the journal has.
   */
  start(archiveId: string, record?: ArchiveRecord): Promise<Build>
  /** Accepts an archive and builds it to the end. */
  make(entries: readonly EntryInput[], overrides?: Partial<ArchiveRequest>): Promise<Build>
  /** Closes journal and spool and opens them again, as a new process does. All builds must have ended. */
  reopen(): Promise<void>
  facts<T extends Fact['type']>(archiveId: string, type: T): Promise<Stored<Extract<Fact, { type: T }>>[]>
  /** All bytes of a sealed archive. */
  bytes(archiveId: string): Promise<Buffer>
  /** The members of a zip, after other programs have verified it. */
  zip(archiveId: string): Promise<ZipMember[]>
  tar(archiveId: string): Promise<TarMember[]>
  /** Names of the archive's files in the spool. */
  files(archiveId: string): Promise<string[]>
}

export async function openHouse({ build: limits = {}, stagingBytes, ...fetching }: HouseOptions = {}): Promise<House> {
  const temporary = await tempDirectory()
  const directory = join(temporary.path, 'spool')
  const file = join(temporary.path, 'journal.db')
  const { fetcher, ...network } = startFetching(fetching)
  const deflater = createDeflater()
  const staging = createStagingMemory(stagingBytes ?? 64 * 1024 * 1024)
  let text = ''
  const log = createLog('debug', {
    write(line) {
      text += line
    },
  })
  let journal = createSqliteJournal({ file })
  let spool = await createDiskSpool({ directory })

  const house: House = {
    get journal() {
      return journal
    },
    get spool() {
      return spool
    },
    staging,
    slabs: network.dispatcher.slabs,
    cutOff: network.cutOff,
    directory,
    get log() {
      return text
    },
    async accept(entries, overrides = {}) {
      const request = requestOf({ totalEntries: entries.length, acceptedAtMs: Date.now(), ...overrides })
      return (await journal.accept(request, entries, '')).record
    },
    async start(archiveId, known) {
      const record = known ?? (await journal.get(archiveId))!
      const limit = {
        maxArchiveBytes: 2 ** 40,
        archiveTimeoutMs: 60_000,
        retentionMs: 60_000,
        abortedRetentionMs: 60_000,
        ...limits,
      }
      const build = new Build(record, {
        journal,
        spool,
        fetcher,
        staging,
        deflater,
        clock: systemClock,
        log,
        limits: limit,
        client: '',
      })
      void build.run(await journal.manifest(archiveId))
      return build
    },
    async make(entries, overrides) {
      const { archiveId } = await house.accept(entries, overrides)
      const build = await house.start(archiveId)
      await build.ended
      return build
    },
    async reopen() {
      await journal[Symbol.asyncDispose]()
      await spool[Symbol.asyncDispose]()
      journal = createSqliteJournal({ file })
      spool = await createDiskSpool({ directory })
    },
    async facts(archiveId, type) {
      const facts = await journal.facts(archiveId, 1, 1_000_000)
      return facts.filter((fact) => fact.type === type) as never
    },
    async bytes(archiveId) {
      const terminal = (await journal.get(archiveId))?.terminal
      if (terminal?.type !== 'archive-sealed') throw new Error(`not sealed but ${JSON.stringify(terminal)}`)
      const target = Buffer.alloc(terminal.sizeBytes)
      await using reader = spool.reader(archiveId)
      await readLayout(createLayout(terminal.extents), (...at) => reader.read(...at), 0, target)
      return target
    },
    async zip(archiveId) {
      const path = join(temporary.path, `${archiveId}.zip`)
      await writeFile(path, await house.bytes(archiveId))
      await verifyZip(path)
      return readZip(path)
    },
    async tar(archiveId) {
      const path = join(temporary.path, `${archiveId}.tar`)
      await writeFile(path, await house.bytes(archiveId))
      return readTar(path)
    },
    files: (archiveId) => readdir(join(directory, archiveId)).catch(() => []),
    async [Symbol.asyncDispose]() {
      await network[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
      await spool[Symbol.asyncDispose]()
      await temporary[Symbol.asyncDispose]()
    },
  }
  return house
}
