// Copies the readable rows of a damaged journal into a new one, and skips the pages that cannot be read.
import type { DatabaseSync } from 'node:sqlite'
import * as z from 'zod'
import { archiveIdSchema, type EntryInput } from '#contracts/archive.ts'
import type { ArchiveRequest, Fact } from '../../ports/journal.ts'
import { COUNT_BYTES, isDamaged } from './database.ts'
import { isConstraint } from './errors.ts'

export interface Salvaged {
  readonly archives: number
  /** How many of them were unfinished and cannot continue. They are recorded as ended. */
  readonly ended: number
}

export interface SalvageOptions {
  readonly from: DatabaseSync
  readonly to: DatabaseSync
  /** True if the entries are those of the request. A page can be damaged in the middle of a text. */
  isIntact(request: ArchiveRequest, entries: EntryInput[]): boolean
  readonly expiresAtMs: number
}

type Row = Record<string, unknown>

const archiveSchema = z.object({
  id: archiveIdSchema,
  manifest_hash: z.string(),
  accepted_at: z.int(),
  request: z.string(),
  last_seq: z.int().min(1),
  generation: z.int().min(1),
  terminal: z.string().nullable(),
  expires_at: z.int().nullable(),
  swept_at: z.int().nullable(),
  client: z.string().default(''),
})
type ArchiveRow = z.infer<typeof archiveSchema>

const requestSchema = z.looseObject({ archiveId: archiveIdSchema, manifestHash: z.string(), totalEntries: z.int() })
const terminalSchema = z.looseObject({
  type: z.enum(['archive-sealed', 'aborted']),
  seq: z.int(),
  expiresAtMs: z.int(),
})
const factsSchema = z.array(z.looseObject({ type: z.string() })).min(1)

const columns = {
  archive: [...Object.keys(archiveSchema.shape), 'journal_bytes'],
  manifest: ['archive', 'entries'],
  facts: ['archive', 'last_seq', 'first_entry', 'last_entry', 'failures', 'body'],
  usage: ['client', 'day', 'bytes'],
} as const
type Table = keyof typeof columns

export function salvage({ from, to, isIntact, expiresAtMs }: SalvageOptions): Salvaged {
  const put = writerOf(to)
  const manifestOf = to.prepare('SELECT entries FROM manifest WHERE archive = ?')
  const factsOf = to.prepare('SELECT last_seq, body FROM facts WHERE archive = ? ORDER BY last_seq')
  const dropFacts = to.prepare('DELETE FROM facts WHERE archive = ?')
  const dropManifest = to.prepare('DELETE FROM manifest WHERE archive = ?')
  let archives = 0
  let ended = 0
  to.exec('BEGIN')
  for (const table of ['manifest', 'facts', 'usage'] as const) {
    for (const row of readableRows(from, table)) {
      if (table !== 'facts' || factsSchema.safeParse(parsed(row.body)).success) put(table, row)
    }
  }
  for (const found of readableRows(from, 'archive')) {
    const row = archiveSchema.safeParse(found).data
    if (row === undefined || !isSoundArchive(row)) continue
    const manifest = manifestOf.get(row.id) as { entries: string } | undefined
    const entries = parsed(manifest?.entries) as EntryInput[] | null
    const isWhole = entries !== null && isIntact(JSON.parse(row.request), entries)
    if (!isWhole) dropManifest.run(row.id)
    let fact: Fact | null = null
    if (row.terminal === null && row.swept_at === null) {
      if (!isWhole) fact = endOf(row, expiresAtMs)
      else if (!isContiguous(factsOf.iterate(row.id), row.last_seq)) fact = rewindOf(row)
    }
    if (fact !== null) {
      dropFacts.run(row.id)
      put('facts', { ...NO_ENTRIES, archive: row.id, last_seq: row.last_seq, body: JSON.stringify([fact]) })
    }
    if (!put('archive', { ...row, journal_bytes: 0 })) continue
    archives++
    if (fact?.type === 'aborted') ended++
  }
  to.exec(`
    DELETE FROM facts WHERE archive NOT IN (SELECT id FROM archive);
    DELETE FROM manifest WHERE archive NOT IN (SELECT id FROM archive);
    ${COUNT_BYTES}; COMMIT`)
  return { archives, ended }
}

const NO_ENTRIES = { first_entry: null, last_entry: null, failures: 0 }

/** Writes a row; false if the table's constraints refuse it. A damaged page can still be readable. */
function writerOf(db: DatabaseSync): (table: Table, row: Row) => boolean {
  const insert = (table: Table) => {
    const names = columns[table]
    const values = names.map((name) => `$${name}`)
    return db.prepare(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${values.join(', ')})`)
  }
  const statements = Object.fromEntries(Object.keys(columns).map((table) => [table, insert(table as Table)]))
  return (table, row) => {
    try {
      const values = columns[table].map((name) => [`$${name}`, row[name] ?? null])
      statements[table]!.run(Object.fromEntries(values))
      return true
    } catch (error) {
      if (isConstraint(error)) return false
      throw error
    }
  }
}

function isSoundArchive(row: ArchiveRow): boolean {
  const request = requestSchema.safeParse(parsed(row.request)).data
  if (request?.archiveId !== row.id || request.manifestHash !== row.manifest_hash) return false
  return row.terminal === null || terminalSchema.safeParse(parsed(row.terminal)).success
}

/** Ends an archive whose manifest is lost, and updates its row to match. */
function endOf(row: ArchiveRow, expiresAtMs: number): Fact {
  const fact = { type: 'aborted', code: 'UNRECOVERABLE', expiresAtMs } as const
  row.last_seq++
  row.terminal = JSON.stringify({ ...fact, seq: row.last_seq })
  row.expires_at = expiresAtMs
  return fact
}

/** Rewinds an archive with missing facts. Without them its bytes cannot be found, so it is fetched again. */
function rewindOf(row: ArchiveRow): Fact {
  row.last_seq++
  row.generation++
  return { type: 'rewound', generation: row.generation }
}

function isContiguous(rows: Iterable<unknown>, lastSeq: number): boolean {
  let seq = 1
  for (const row of rows) {
    const { last_seq, body } = row as { last_seq: number; body: string }
    seq += (JSON.parse(body) as unknown[]).length
    if (seq !== last_seq) return false
  }
  return seq === lastSeq
}

function parsed(text: unknown): unknown {
  try {
    return typeof text === 'string' ? JSON.parse(text) : null
  } catch {
    return null
  }
}

/** Yields rows in the order of their rowids, which is the order of writing. Leaves out rows on unreadable pages. */
function* readableRows(db: DatabaseSync, table: Table): Generator<Row> {
  for (let last = 0; ; ) {
    try {
      const rows = db.prepare(`SELECT rowid AS "rowid", * FROM ${table} WHERE rowid > ? ORDER BY rowid`).iterate(last)
      for (const row of rows) {
        last = Number((row as Row).rowid)
        yield row as Row
      }
      return
    } catch (error) {
      // The table does not exist in earlier versions, or the schema that lists it cannot be read.
      if (!isDamaged(error)) return
      const next = nextReadable(db, table, last)
      if (next === null) return
      last = next
    }
  }
}

/** Unreadable rows are skipped in these steps. A bad leaf page costs a few rows, a bad page above it thousands. */
const STEP = 8
const MAX_GAP = 1_000_000

/** The next rowid from which rows can be read again; null if there is none. */
function nextReadable(db: DatabaseSync, table: Table, last: number): number | null {
  const next = db.prepare(`SELECT * FROM ${table} WHERE rowid > ? ORDER BY rowid LIMIT 1`)
  const attempt = <T>(work: () => T): T | null => {
    try {
      return work()
    } catch {
      return null
    }
  }
  const isReadable = (from: number) => attempt(() => next.get(from)) != null
  const max = attempt(() => db.prepare(`SELECT max(rowid) AS max FROM ${table}`).get() as { max: number })
  const end = max?.max ?? last + MAX_GAP
  for (let from = last + 1; from <= end + STEP; from += STEP) {
    if (!isReadable(from)) continue
    let first = from
    while (first > last + 1 && isReadable(first - 1)) first--
    return first
  }
  return null
}
