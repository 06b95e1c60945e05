// Counts the watchers and downloads of each archive, and reports when nobody has attended an archive for too long.
import type { ArchiveId } from '#contracts/archive.ts'

export interface Attendance extends Disposable {
  /** Counts one watcher or download, until the result is disposed. */
  attend(archiveId: ArchiveId): Disposable
  /** Starts `abandonMs` anew if nobody attends the archive. A new archive needs this to be abandoned at all. */
  touch(archiveId: ArchiveId): void
  /** Whether somebody watches or downloads the archive now. */
  attended(archiveId: ArchiveId): boolean
}

export interface AttendanceOptions {
  abandonMs: number
  /** Called when nobody has attended the archive for `abandonMs`. */
  abandoned(archiveId: ArchiveId): void
}

interface Presence {
  count: number
  timer: NodeJS.Timeout | null
}

export function createAttendance({ abandonMs, abandoned }: AttendanceOptions): Attendance {
  const presences = new Map<ArchiveId, Presence>()

  function startTimer(archiveId: ArchiveId, presence: Presence): void {
    if (presence.timer !== null) clearTimeout(presence.timer)
    // After this attendance is disposed, a watcher that leaves must not start a timer.
    if (presences.get(archiveId) !== presence) return
    presence.timer = setTimeout(() => {
      presences.delete(archiveId)
      abandoned(archiveId)
    }, abandonMs)
    presence.timer.unref()
  }

  function presenceOf(archiveId: ArchiveId): Presence {
    const known = presences.get(archiveId)
    if (known !== undefined) return known
    const presence = { count: 0, timer: null }
    presences.set(archiveId, presence)
    return presence
  }

  return {
    attend(archiveId) {
      const presence = presenceOf(archiveId)
      presence.count++
      if (presence.timer !== null) clearTimeout(presence.timer)
      presence.timer = null
      // A stack runs this once, even if it is disposed again.
      const stay = new DisposableStack()
      stay.defer(() => {
        if (--presence.count === 0) startTimer(archiveId, presence)
      })
      return stay
    },
    touch(archiveId) {
      const presence = presenceOf(archiveId)
      if (presence.count === 0) startTimer(archiveId, presence)
    },
    attended: (archiveId) => (presences.get(archiveId)?.count ?? 0) > 0,
    [Symbol.dispose]() {
      for (const { timer } of presences.values()) if (timer !== null) clearTimeout(timer)
      presences.clear()
    },
  }
}
