// The machine's clock is set while archives wait to expire: none is swept too early, and none stays.
import { afterEach, expect, it, vi } from 'vitest'
import { createAttendance } from '../../../server/archives/attendance.ts'
import { createSweeper } from '../../../server/archives/sweeper.ts'
import { systemClock } from '../../../server/lib/clock.ts'
import { createLog } from '../../../server/lib/log.ts'
import { archiveSealedFact } from '../../support/archives.ts'
import { openHouse } from '../../support/building.ts'
import { startOrigin } from '../../support/origin.ts'
import { until } from '../../support/wait.ts'

const DAY_MS = 86_400_000
const RETENTION_MS = 60_000

afterEach(() => {
  vi.useRealTimers()
})

it.each([
  ['forwards', DAY_MS],
  ['backwards', -DAY_MS],
])('sweeps only expired archives when the clock is moved %s by a day', async (_, jumpMs) => {
  await using origin = await startOrigin()
  await using house = await openHouse({ build: { retentionMs: RETENTION_MS } })
  const { journal, spool } = house
  const entries = [`${origin.url}/bytes/100/x`]
  const sealedFor = async (expiresInMs: number) => {
    const { archiveId } = await house.accept(entries)
    await using writer = await spool.writer(archiveId, new Map())
    await writer.appendLog([Buffer.from('sealed')])
    await journal.append(archiveId, 1, [archiveSealedFact(systemClock.wallMs() + expiresInMs)])
    return archiveId
  }
  const before = [(await house.make(entries)).archiveId, await sealedFor(RETENTION_MS)]
  const expiring = await sealedFor(400)
  // Only Date jumps. Timers go on, as they do when a clock is set.
  const realMs = Date.now()
  vi.useFakeTimers({ toFake: ['Date'], now: realMs + jumpMs })
  const after = (await house.make(entries)).archiveId

  const isSwept = async (archiveId: string) => (await journal.get(archiveId))!.swept
  using attendance = createAttendance({ abandonMs: RETENTION_MS, abandoned() {} })
  const log = createLog('silent')
  const clock = systemClock
  await using sweeper = createSweeper({
    journal,
    spool,
    attendance,
    clock,
    expiry: () => clock.wallMs(),
    log,
    tombstoneMs: DAY_MS / 2,
    everyMs: 20,
    swept() {},
  })
  sweeper.start()
  const expiringLater = await sealedFor(400)
  // The archive that expires later shows that the sweeper has run after the jump, more than once.
  await until(() => isSwept(expiringLater), { what: 'the sweep' })
  expect(await isSwept(expiring)).toBe(true)
  for (const archiveId of [...before, after]) expect(await isSwept(archiveId)).toBe(false)
  await until(async () => (await spool.list()).length === 3, { what: 'the bytes to be removed' })
  expect((await spool.list()).sort()).toEqual([...before, after].sort())
  const [sealed] = await house.facts(after, 'archive-sealed')
  expect(Math.abs(sealed!.expiresAtMs - RETENTION_MS - realMs)).toBeLessThan(DAY_MS / 2)
})
