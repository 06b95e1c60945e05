// Checks what a server leaves on its disk: complete archives and their journal, and nothing else.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createSqliteJournal } from '../../server/adapters/sqlite/journal.ts'
import { promised } from './scope.ts'

export interface Remains {
  readonly archives: number
  readonly bytes: number
  /** Bytes in files of complete archives from which no download reads. */
  readonly unreadBytes: number
  /** Folders of the spool that belong to no complete archive. */
  readonly orphans: readonly string[]
}

/** Looks at the disk of a stopped server. Orphans are returned and do not throw, because the next start may remove them. */
export async function remainsOf(dataDir: string, completeIds: ReadonlySet<string>): Promise<Remains> {
  const top = (await readdir(dataDir)).sort()
  promised(top.join() === 'journal.db,spool', `the data directory holds ${top.join(', ')}`)
  const folders = await readdir(join(dataDir, 'spool'))
  const orphans = folders.filter((folder) => !completeIds.has(folder))
  const missing = [...completeIds].filter((archiveId) => !folders.includes(archiveId))
  promised(missing.length === 0, `complete archives without bytes: ${missing.join(', ')}`)
  let bytes = 0
  let unreadBytes = 0
  await using journal = createSqliteJournal({ file: join(dataDir, 'journal.db') })
  promised((await journal.unfinished()).length === 0, 'an archive has no end')
  for (const archiveId of completeIds) {
    const record = await journal.get(archiveId)
    promised(record?.terminal?.type === 'archive-sealed', `${archiveId} is not sealed in the journal`)
    const read = new Set(record.terminal.extents.map(({ file }) => file))
    for (const file of await readdir(join(dataDir, 'spool', archiveId))) {
      const { size } = await stat(join(dataDir, 'spool', archiveId, file))
      bytes += size
      if (read.has(file)) continue
      unreadBytes += size
      promised(record.format !== 'zip', `${archiveId}/${file} is part of no archive`)
    }
  }
  return { archives: completeIds.size, bytes, unreadBytes, orphans }
}
