// Who attends an archive, and when nobody has attended it for too long.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Attendance, createAttendance } from '../../../server/archives/attendance.ts'

describe('attendance', () => {
  let abandoned: string[]
  let attendance: Attendance

  beforeEach(() => {
    vi.useFakeTimers()
    abandoned = []
    attendance = createAttendance({ abandonMs: 1_000, abandoned: (archiveId) => abandoned.push(archiveId) })
  })

  afterEach(() => {
    attendance[Symbol.dispose]()
    vi.useRealTimers()
  })

  it('says that somebody is there until the last one has left', () => {
    expect(attendance.attended('a')).toBe(false)
    const [one, other] = [attendance.attend('a'), attendance.attend('a')]
    one[Symbol.dispose]()
    expect([attendance.attended('a'), attendance.attended('b')]).toEqual([true, false])
    other[Symbol.dispose]()
    expect(attendance.attended('a')).toBe(false)
  })

  it('counts each leaving once', () => {
    const [one, _other] = [attendance.attend('a'), attendance.attend('a')]
    one[Symbol.dispose]()
    one[Symbol.dispose]()
    expect(attendance.attended('a')).toBe(true)
    vi.advanceTimersByTime(10_000)
    expect(abandoned).toEqual([])
  })

  it('reports an archive once when nobody has come back in time, and not before', () => {
    attendance.attend('a')[Symbol.dispose]()
    vi.advanceTimersByTime(999)
    expect(abandoned).toEqual([])
    vi.advanceTimersByTime(1)
    expect(abandoned).toEqual(['a'])
    vi.advanceTimersByTime(10_000)
    expect(abandoned).toEqual(['a'])
  })

  it('reports nothing if somebody comes back in time, and measures the time again when that one leaves', () => {
    attendance.attend('a')[Symbol.dispose]()
    vi.advanceTimersByTime(999)
    const back = attendance.attend('a')
    vi.advanceTimersByTime(10_000)
    back[Symbol.dispose]()
    vi.advanceTimersByTime(999)
    expect(abandoned).toEqual([])
    vi.advanceTimersByTime(1)
    expect(abandoned).toEqual(['a'])
  })

  it('gives a touched archive the whole time again if nobody is there', () => {
    attendance.touch('new')
    vi.advanceTimersByTime(999)
    attendance.touch('new')
    vi.advanceTimersByTime(999)
    expect(abandoned).toEqual([])
    const there = attendance.attend('new')
    attendance.touch('new')
    vi.advanceTimersByTime(10_000)
    expect(abandoned).toEqual([])
    there[Symbol.dispose]()
    vi.advanceTimersByTime(1_000)
    expect(abandoned).toEqual(['new'])
  })

  it('reports an archive again after somebody came back too late and left', () => {
    attendance.touch('a')
    vi.advanceTimersByTime(1_000)
    attendance.attend('a')[Symbol.dispose]()
    vi.advanceTimersByTime(1_000)
    expect(abandoned).toEqual(['a', 'a'])
  })

  it('reports nothing after it is closed, even if somebody leaves later', () => {
    attendance.touch('a')
    const late = attendance.attend('b')
    attendance[Symbol.dispose]()
    late[Symbol.dispose]()
    vi.advanceTimersByTime(10_000)
    expect(abandoned).toEqual([])
  })
})
