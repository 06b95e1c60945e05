// What every spool must do that limits and counts its room.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NoSpaceError } from '../../server/ports/no-space.ts'
import { LOG, type Spool, type SpoolRoom } from '../../server/ports/spool.ts'
import { newArchiveId } from '../support/archives.ts'

export interface RoomySpoolFixture extends AsyncDisposable {
  /** A spool with room for 1 MB in all. */
  readonly spool: Spool & SpoolRoom
  /** Closes the spool and opens it again. */
  reopen(): Promise<void>
}

const MAX_BYTES = 1_000_000
const NOTHING = new Map<string, number>()
const bytes = (count: number) => [Buffer.alloc(count, 'x')]

export function spoolRoomSuite(name: string, makeSpool: () => Promise<RoomySpoolFixture>): void {
  describe(`the room of a spool: ${name}`, () => {
    let fixture: RoomySpoolFixture
    let id: string

    beforeEach(async () => {
      fixture = await makeSpool()
      id = newArchiveId()
    })

    afterEach(async () => {
      await fixture[Symbol.asyncDispose]()
    })

    const expectUsed = async (usedBytes: number) =>
      expect(await fixture.spool.room()).toEqual({ usedBytes, freeBytes: MAX_BYTES - usedBytes })

    it('counts what is written to logs and parts, and what is discarded', async () => {
      await expectUsed(0)
      await using writer = await fixture.spool.writer(id, NOTHING)
      await writer.appendLog(bytes(1_000))
      await writer.appendLog([...bytes(20), ...bytes(3)])
      const [one, other] = [await writer.createPart(), await writer.createPart()]
      await one.write(bytes(10_000))
      await other.write(bytes(50_000))
      await other.write(bytes(50_000))
      await expectUsed(111_023)
      await one.discard()
      await one.discard()
      await expectUsed(101_023)
      await other.close()
      await expectUsed(101_023)
      await writer.discardPart(other.file)
      await writer.discardPart(other.file)
      await expectUsed(1_023)
    })

    it('stops counting what is cut off when a part is opened again', async () => {
      await using writer = await fixture.spool.writer(id, NOTHING)
      const part = await writer.createPart()
      await part.write(bytes(5_000))
      await part.close()
      const again = await writer.reopenPart(part.file, 2_000)
      await expectUsed(2_000)
      await again.write(bytes(1_000))
      await expectUsed(3_000)
    })

    it('frees the room of an archive when it is removed, once, even if it is removed several times', async () => {
      const staying = newArchiveId()
      for (const each of [id, staying]) {
        await using writer = await fixture.spool.writer(each, NOTHING)
        await writer.appendLog(bytes(400_000))
        const part = await writer.createPart()
        await part.write(bytes(50_000))
      }
      await expectUsed(900_000)
      await fixture.spool.remove(id)
      await expectUsed(450_000)
      await fixture.spool.remove(id)
      await expectUsed(450_000)
    })

    it('refuses a write that does not fit, keeps what it has, and still takes what fits', async () => {
      const other = newArchiveId()
      await using first = await fixture.spool.writer(id, NOTHING)
      await using second = await fixture.spool.writer(other, NOTHING)
      await first.appendLog(bytes(600_000))
      await expect(second.appendLog(bytes(400_001))).rejects.toBeInstanceOf(NoSpaceError)
      const part = await second.createPart()
      await expect(part.write(bytes(400_001))).rejects.toBeInstanceOf(NoSpaceError)
      await expectUsed(600_000)
      await first.appendLog(bytes(399_999))
      await part.write(bytes(1))
      await expectUsed(MAX_BYTES)
      await expect(first.appendLog(bytes(1))).rejects.toBeInstanceOf(NoSpaceError)
      expect([first.logBytes, second.logBytes]).toEqual([999_999, 0])
      await fixture.spool.remove(id)
      await second.appendLog(bytes(900_000))
    })

    it('does not let many concurrent writers take more room than there is', async () => {
      const writers = await Promise.all(Array.from({ length: 20 }, () => fixture.spool.writer(newArchiveId(), NOTHING)))
      const took = await Promise.allSettled(writers.map((writer) => writer.appendLog(bytes(300_000))))
      expect(took.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
      await expectUsed(900_000)
      await Promise.all(writers.map((writer) => writer[Symbol.asyncDispose]()))
    })

    it('counts what it holds when it is opened, and then stops counting what is not kept', async () => {
      let kept = ''
      {
        await using writer = await fixture.spool.writer(id, NOTHING)
        await writer.appendLog(bytes(1_000))
        const parts = [await writer.createPart(), await writer.createPart()]
        for (const part of parts) await part.write(bytes(10_000))
        kept = parts[1]!.file
      }
      await fixture.reopen()
      await expectUsed(21_000)
      await using writer = await fixture.spool.writer(
        id,
        new Map([
          [LOG, 400],
          [kept, 10_000],
        ]),
      )
      await expectUsed(21_000)
      await writer.discardRest()
      await expectUsed(10_400)
    })
  })
}
