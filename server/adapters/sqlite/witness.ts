// Remembers in the machine's memory how far each unfinished archive has come, to detect facts lost by a power failure.
import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statfsSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'

/**
 * A file on tmpfs. It outlives the process, however that ends, but not a failure of the machine. For each unfinished
 * archive it holds the last acknowledged seq. If the journal's last seq is lower, the journal has lost facts.
 */
export interface Witness {
  /** What an earlier process left; null if there is nothing, for example after a reboot. */
  readonly seqs: ReadonlyMap<string, number> | null
  /** Notes how far the archive has come. Costs one write to memory, which takes some microseconds. */
  note(archiveId: string, seq: number): void
  /** Drops an archive that has ended. */
  forget(archiveId: string): void
  /** Empties the file. */
  clear(): void
  /** Removes the file, when everything is on disk or when it cannot be trusted. */
  remove(): void
  close(): void
}

const DIRECTORY = '/dev/shm'
/** https://man7.org/linux/man-pages/man2/statfs.2.html */
const TMPFS_MAGIC = 0x01021994
/** A slot holds the 22 characters of the id, and the seq as a double. */
const SLOT_BYTES = 32
const SEQ_AT = 24

/** `identity` distinguishes the journal from others, even from a copy of it in another folder. */
export function openWitness(identity: string): Witness {
  const name = createHash('sha256').update(identity).digest('base64url').slice(0, 22)
  const path = join(DIRECTORY, `sheaf-${name}`)
  let fd = openOwn(path)
  const slots = new Map<string, number>()
  let free: number[] = []
  let used = 0
  const slot = Buffer.alloc(SLOT_BYTES)

  function write(at: number): void {
    try {
      if (fd !== null) writeSync(fd, slot, 0, SLOT_BYTES, at * SLOT_BYTES)
    } catch {
      // An incomplete witness would vouch for facts that it has not seen.
      remove()
    }
  }

  function close(): void {
    if (fd !== null) closeSync(fd)
    fd = null
  }

  function remove(): void {
    if (fd === null) return
    close()
    try {
      unlinkSync(path)
    } catch {
      // The file is gone already.
    }
  }

  return {
    seqs: fd === null ? null : read(fd),
    note(archiveId, seq) {
      if (fd === null) return
      let at = slots.get(archiveId)
      if (at === undefined) {
        at = free.pop() ?? used++
        slots.set(archiveId, at)
      }
      slot.write(archiveId, 0, 'latin1')
      slot.writeDoubleLE(seq, SEQ_AT)
      write(at)
    },
    forget(archiveId) {
      const at = slots.get(archiveId)
      if (at === undefined) return
      slots.delete(archiveId)
      free.push(at)
      slot.fill(0)
      write(at)
    },
    clear() {
      if (fd !== null) ftruncateSync(fd)
      slots.clear()
      free = []
      used = 0
    },
    remove,
    close,
  }
}

/** Opens or creates the file. Null without tmpfs, or if others can access the file and could have written anything. */
function openOwn(path: string): number | null {
  try {
    if (statfsSync(DIRECTORY).type !== TMPFS_MAGIC) return null
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
    const { uid, mode } = fstatSync(fd)
    if (uid === process.geteuid?.() && (mode & 0o777) === 0o600) return fd
    closeSync(fd)
  } catch {
    // Without a witness the journal still works, so this is the same as no tmpfs.
  }
  return null
}

function read(fd: number): ReadonlyMap<string, number> | null {
  const content = readFileSync(fd)
  if (content.length === 0) return null
  const seqs = new Map<string, number>()
  for (let at = 0; at + SLOT_BYTES <= content.length; at += SLOT_BYTES) {
    if (content[at] === 0) continue
    seqs.set(content.toString('latin1', at, at + SEQ_AT).replaceAll('\0', ''), content.readDoubleLE(at + SEQ_AT))
  }
  return seqs
}
