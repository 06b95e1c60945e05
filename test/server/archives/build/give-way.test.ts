// Builds that are not the only one, or not the newest: they give way, and do not harm the work of others.
import { expect, it } from 'vitest'
import { bytes, gate } from '../../../support/behaviours.ts'
import { openHouse } from '../../../support/building.ts'
import { bodyOf, startOrigin } from '../../../support/origin.ts'
import { until } from '../../../support/wait.ts'

it('stops at a fact of a later version without aborting or deleting anything, and the log says why', async () => {
  await using origin = await startOrigin()
  await using house = await openHouse()
  const slow = gate()
  const { archiveId } = await house.accept([`${origin.url}/bytes/900/a`, origin.serve('/bytes/9/b', slow.behaviour)])
  const first = await house.start(archiveId)
  await until(() => first.report.progress().sealedEntries === 1, { what: 'the first entry' })
  await first.stop()
  const { lastSeq } = (await house.journal.get(archiveId))!
  await house.journal.append(archiveId, lastSeq, [{ type: 'entry-blessed', index: 1 } as never])
  const files = await house.files(archiveId)
  const build = await house.start(archiveId)
  await build.ended
  expect(build.outcome).toBe('stopped')
  expect(await house.journal.get(archiveId)).toMatchObject({ terminal: null, lastSeq: lastSeq + 1 })
  expect(await house.files(archiveId)).toEqual(files)
  expect(house.log).toContain('entry-blessed')
})

it('gives way without a trace if another build went ahead before its files were open', async () => {
  await using origin = await startOrigin()
  await using house = await openHouse()
  const body = bodyOf(50_000, 'large')
  const slow = gate(bytes(body))
  const urls = [`${origin.url}/bytes/3000000/a`, origin.serve('/b', slow.behaviour)]
  const { archiveId } = await house.accept(urls)
  const stale = (await house.journal.get(archiveId))!
  const first = await house.start(archiveId)
  await until(() => first.report.progress().sealedEntries === 1, { what: 'the first entry' })
  await first.stop()
  const [files, before] = [await house.files(archiveId), await house.journal.get(archiveId)]

  // Imitates a build that has been held up since the archive was accepted.
  const late = await house.start(archiveId, stale)
  await late.ended
  expect(late.outcome).toBe('stopped')
  expect([await house.files(archiveId), await house.journal.get(archiveId)]).toEqual([files, before])

  slow.open()
  const next = await house.start(archiveId)
  await next.ended
  expect([next.outcome, next.generation]).toEqual(['sealed', 1])
  expect((await house.zip(archiveId)).map((member) => member.body.length)).toEqual([3_000_000, 50_000])
  expect(origin.requests.filter(({ path }) => path.includes('3000000'))).toHaveLength(1)
})
