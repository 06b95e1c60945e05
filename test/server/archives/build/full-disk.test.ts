// Builds on a disk that becomes full, in a process of their own: they end with a reason, and other builds go on.
import { expect, it } from 'vitest'
import { onSmallDisk } from '../../../support/small-disk.ts'

const PRELUDE = `
  import { openHouse } from './test/support/building.ts'
  import { gate } from './test/support/behaviours.ts'
  import { startOrigin } from './test/support/origin.ts'
  import { until } from './test/support/wait.ts'
  await using origin = await startOrigin()
  await using house = await openHouse()
  const file = (size: number, name: string) => origin.url + '/bytes/' + size + '/' + name
  const end = async (id: string) => (await house.journal.get(id))?.terminal
`

it.each([
  ['many small bodies', `Array.from({ length: 40 }, (_, n) => file(50_000, 'small-' + n))`],
  ['one large body', `[file(100, 'first'), file(3_000_000, 'large')]`],
])('a build of %s ends as NO_SPACE, frees disk and memory, and the next one works', async (_, entries) => {
  const told = await onSmallDisk(`${PRELUDE}
    const build = await house.make(${entries})
    tell([build.outcome, await end(build.archiveId)])
    tell([await house.spool.list(), house.staging.usedBytes])
    const next = await house.make([file(100_000, 'next')])
    tell(next.outcome)
  `)
  expect(told).toMatchObject([['aborted', { type: 'aborted', code: 'NO_SPACE' }], [[], 0], 'sealed'])
})

it.each(['zip', 'tar'])('a build ends as NO_SPACE if there is no space for the end of its %s', async (format) => {
  // Bodies of two thirds of the disk are too much for a tar, which is packed beside them. For a zip another file fills the disk.
  const told = await onSmallDisk(`${PRELUDE}
    import { writeFileSync } from 'node:fs'
    const last = gate()
    const urls = [file(500_000, 'first'), origin.serve('/bytes/9/last', last.behaviour)]
    const { archiveId } = await house.accept(urls, { format: '${format}' })
    const build = await house.start(archiveId)
    await until(() => build.report.progress().sealedEntries === 1, { what: 'the first entry' })
    if ('${format}' === 'zip') {
      for (let size = 1 << 19; size >= 1; size >>= 1) {
        try { writeFileSync(process.env.TMPDIR + '/hog-' + size, Buffer.alloc(size)) } catch {}
      }
    }
    last.open()
    await build.ended
    tell([build.outcome, (await end(archiveId))?.code, await house.spool.list(), house.staging.usedBytes])
  `)
  expect(told).toEqual([['aborted', 'NO_SPACE', [], 0]])
})
