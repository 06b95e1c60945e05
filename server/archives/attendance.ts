// Who is still there: counts watchers and downloads of an archive, and says when nobody has been there for too long.
import type { ArchiveId } from '#contracts/archive.ts'

export interface Attendance extends Disposable {
  /** Somebody is there until the result is disposed. */
  attend(archiveId: ArchiveId): Disposable
  /** Somebody was there just now; also starts the time for a new archive. */
  touch(archiveId: ArchiveId): void
  /** Whether somebody is there. */
  attended(archiveId: ArchiveId): boolean
}

export interface AttendanceOptions {
  abandonMs: number
  /** Nobody has been there for `abandonMs`. */
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
    // Whoever leaves after the end is nobody's business any more.
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
      let there = true
      return {
        [Symbol.dispose]() {
          if (!there) return
          there = false
          if (--presence.count === 0) startTimer(archiveId, presence)
        },
      }
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
