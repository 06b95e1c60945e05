// Reads an archive's facts after a restart into the entries its builder goes on with. Trusts no byte it did not check.
import { crc32 } from 'node:zlib'
import type { Fact, Journal, Stored } from '../ports/journal.ts'
import { LOG, type SpoolReader } from '../ports/spool.ts'
import { type Entry, PENDING, type SpooledBody } from './entry.ts'

export type SealedFact = Stored<Extract<Fact, { type: 'entry-sealed' }>>

export interface Recovered {
  readonly entries: Entry[]
  /** In the order they were sealed, which is the manifest's. */
  readonly sealed: SealedFact[]
  readonly failedEntries: number
  /** What the journal vouches for: the rest of the spool is left-overs. */
  readonly keep: { readonly logBytes: number; readonly parts: ReadonlySet<string> }
}

const PAGE = 2_000

/** What the journal says; nothing is read from the spool yet. */
export async function recoverEntries(journal: Journal, archiveId: string, totalEntries: number): Promise<Recovered> {
  const entries: Entry[] = new Array(totalEntries).fill(PENDING)
  let sealed: SealedFact[] = []
  let failedEntries = 0
  let logBytes = 0
  let parts = new Set<string>()
  for (let after = 1; ; ) {
    const page = await journal.facts(archiveId, after, PAGE)
    for (const fact of page) {
      switch (fact.type) {
        case 'entry-staged':
        case 'entry-sealed': {
          const { index, file, offset, sizeBytes } = fact
          if (file === LOG) logBytes = Math.max(logBytes, offset + sizeBytes)
          else parts.add(file)
          if (fact.type === 'entry-sealed') {
            if (fact.headerEnd !== null) logBytes = Math.max(logBytes, fact.headerEnd)
            sealed.push(fact)
            entries[index] = { state: 'sealed' }
          } else {
            entries[index] = { state: 'spooled', at: fact, facts: fact, journalled: true }
          }
          break
        }
        case 'entry-failed':
          entries[fact.index] = { state: 'failed', fact, journalled: true }
          failedEntries++
          break
        case 'rewound':
          for (const [index, { state }] of entries.entries()) if (state !== 'failed') entries[index] = PENDING
          sealed = []
          logBytes = 0
          parts = new Set()
          break
        default:
          break
      }
    }
    if (page.length < PAGE) break
    after = page.at(-1)!.seq
  }
  return { entries, sealed, failedEntries, keep: { logBytes, parts } }
}

/** Whether the spool still holds exactly these bytes. Reads in pieces into `scratch`. */
export async function bytesMatch(reader: SpoolReader, body: SpooledBody, scratch: Uint8Array): Promise<boolean> {
  let crc = 0
  for (let done = 0; done < body.sizeBytes; ) {
    const target = scratch.subarray(0, Math.min(scratch.length, body.sizeBytes - done))
    const bytes = await reader.read(body.file, body.offset + done, target).catch(() => 0)
    if (bytes === 0) return false
    crc = crc32(target.subarray(0, bytes), crc)
    done += bytes
  }
  return crc === body.crc32
}
