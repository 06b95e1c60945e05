// What every spool must do, wherever it keeps its bytes.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LOG, type Spool, type SpoolReader } from '../../server/ports/spool.ts'
import { UnavailableError } from '../../server/ports/unavailable.ts'
import { newArchiveId } from '../support/archives.ts'
import { bodyOf } from '../support/origin.ts'

export interface SpoolFixture extends AsyncDisposable {
  readonly spool: Spool
  /** Closes the spool and opens it again. */
  reopen(): Promise<void>
}

const NOTHING = new Map<string, number>()

/** Reads the file from `offset` to its end, `pieceBytes` at a time. */
async function readAll(reader: SpoolReader, file: string, offset = 0, pieceBytes = 65_536): Promise<Buffer> {
  const pieces: Buffer[] = []
  for (;;) {
    const target = Buffer.alloc(pieceBytes)
    const bytes = await reader.read(file, offset, target)
    if (bytes === 0) return Buffer.concat(pieces)
    pieces.push(target.subarray(0, bytes))
    offset += bytes
  }
}

export function spoolSuite(name: string, makeSpool: () => Promise<SpoolFixture>): void {
  describe(`the spool contract: ${name}`, () => {
    let fixture: SpoolFixture
    let id: string

    beforeEach(async () => {
      fixture = await makeSpool()
      id = newArchiveId()
    })

    afterEach(async () => {
      await fixture[Symbol.asyncDispose]()
    })

    it('appends to the log, and reads it back at once', async () => {
      await using writer = await fixture.spool.writer(id, NOTHING)
      await using reader = fixture.spool.reader(id)
      expect(writer.logBytes).toBe(0)
      await writer.appendLog([Buffer.from('one '), Buffer.alloc(0), Buffer.from('two ')])
      expect(await readAll(reader, LOG)).toEqual(Buffer.from('one two '))
      await writer.appendLog([])
      await writer.appendLog([Buffer.from('three')])
      expect(writer.logBytes).toBe(13)
      expect(await readAll(reader, LOG)).toEqual(Buffer.from('one two three'))
      expect(await readAll(reader, LOG, 4, 3)).toEqual(Buffer.from('two three'))
      expect(await reader.read(LOG, 13, Buffer.alloc(1))).toBe(0)
      expect(await reader.read(LOG, 1_000, Buffer.alloc(1))).toBe(0)
    })

    it('keeps the last write at hand if it can do that, and nothing else', async () => {
      await using writer = await fixture.spool.writer(id, NOTHING)
      await using reader = fixture.spool.reader(id)
      await using stranger = fixture.spool.reader(newArchiveId())
      await writer.appendLog([Buffer.from('written')])
      const target = Buffer.alloc(7)
      const bytes = reader.readRecent?.(LOG, 0, target) ?? null
      if (bytes !== null) expect([bytes, target.toString()]).toEqual([7, 'written'])
      expect(reader.readRecent?.('part-99', 0, target) ?? null).toBeNull()
      expect(stranger.readRecent?.(LOG, 0, target) ?? null).toBeNull()
      await reader[Symbol.asyncDispose]()
      expect(reader.readRecent?.(LOG, 0, target) ?? null).toBeNull()
    })

    it('takes thousands of buffers in one call, in their order', async () => {
      await using writer = await fixture.spool.writer(id, NOTHING)
      const body = bodyOf(500_000, 'pieces')
      const pieces = Array.from({ length: 5_000 }, (_, index) => body.subarray(index * 100, index * 100 + 100))
      await writer.appendLog(pieces)
      const part = await writer.createPart()
      await part.write(pieces)
      await part.close()
      await using reader = fixture.spool.reader(id)
      expect((await readAll(reader, LOG)).equals(body)).toBe(true)
      expect((await readAll(reader, part.file)).equals(body)).toBe(true)
    })

    it('writes parts beside the log, each under its own name', async () => {
      await using writer = await fixture.spool.writer(id, NOTHING)
      const parts = await Promise.all([writer.createPart(), writer.createPart(), writer.createPart()])
      expect(new Set([LOG, ...parts.map(({ file }) => file)]).size).toBe(4)
      const bodies = parts.map((_, index) => bodyOf(300_000, `part ${index}`))
      await Promise.all([
        writer.appendLog([Buffer.from('log')]),
        ...parts.map(async (part, index) => {
          for (let at = 0; at < 300_000; at += 100_000) await part.write([bodies[index]!.subarray(at, at + 100_000)])
          await part.close()
        }),
      ])
      await using reader = fixture.spool.reader(id)
      for (const [index, { file }] of parts.entries()) {
        expect((await readAll(reader, file)).equals(bodies[index]!)).toBe(true)
      }
      expect(await readAll(reader, LOG)).toEqual(Buffer.from('log'))
    })

    it('removes a discarded part, even if it is discarded several times', async () => {
      await using writer = await fixture.spool.writer(id, NOTHING)
      await using reader = fixture.spool.reader(id)
      const [one, other] = [await writer.createPart(), await writer.createPart()]
      for (const part of [one, other]) await part.write([Buffer.from('gone')])
      await Promise.all([one.discard(), one.discard()])
      await other.close()
      await other.close()
      await writer.discardPart(other.file)
      await writer.discardPart(other.file)
      for (const { file } of [one, other]) await expect(reader.read(file, 0, Buffer.alloc(4))).rejects.toThrow()
    })

    it('can read other files after one that does not exist', async () => {
      await using writer = await fixture.spool.writer(id, NOTHING)
      const part = await writer.createPart()
      await part.write([Buffer.from('here')])
      await part.close()
      await writer.appendLog([Buffer.from('log')])
      await using reader = fixture.spool.reader(id)
      await expect(reader.read('part-99', 0, Buffer.alloc(4))).rejects.toThrow()
      expect(await readAll(reader, part.file)).toEqual(Buffer.from('here'))
      await expect(reader.read('part-99', 0, Buffer.alloc(4))).rejects.toThrow()
      expect(await readAll(reader, LOG)).toEqual(Buffer.from('log'))
    })

    it('reads several files of an archive at the same time with one reader', async () => {
      await using writer = await fixture.spool.writer(id, NOTHING)
      const parts = await Promise.all([writer.createPart(), writer.createPart()])
      for (const [index, part] of parts.entries()) {
        await part.write([bodyOf(200_000, index)])
        await part.close()
      }
      await using reader = fixture.spool.reader(id)
      const files = [0, 1, 0, 1, 0, 1]
      const read = await Promise.all(files.map((index) => readAll(reader, parts[index]!.file, 0, 1_000)))
      for (const [at, index] of files.entries()) expect(read[at]!.equals(bodyOf(200_000, index))).toBe(true)
    })

    it('keeps exactly the requested files and lengths when an archive is opened again', async () => {
      let kept = ''
      let dropped = ''
      {
        await using writer = await fixture.spool.writer(id, NOTHING)
        await writer.appendLog([Buffer.from('kept and torn')])
        const parts = [await writer.createPart(), await writer.createPart()]
        for (const part of parts) await part.write([Buffer.from(part.file)])
        for (const part of parts) await part.close()
        dropped = parts[0]!.file
        kept = parts[1]!.file
        await writer.sync()
      }
      await fixture.reopen()
      await using writer = await fixture.spool.writer(
        id,
        new Map([
          [LOG, 4],
          [kept, kept.length],
        ]),
      )
      await writer.discardRest()
      await using reader = fixture.spool.reader(id)
      expect(writer.logBytes).toBe(4)
      expect(await readAll(reader, LOG)).toEqual(Buffer.from('kept'))
      expect(await readAll(reader, kept)).toEqual(Buffer.from(kept))
      await expect(reader.read(dropped, 0, Buffer.alloc(1))).rejects.toThrow()
      await writer.appendLog([Buffer.from(' on')])
      expect(await readAll(reader, LOG)).toEqual(Buffer.from('kept on'))
      const next = await writer.createPart()
      expect(next.file).not.toBe(kept)
      await next.write([Buffer.from('new')])
      await next.close()
      expect(await readAll(reader, kept)).toEqual(Buffer.from(kept))
    })

    it('can keep more parts than a function can have arguments', async () => {
      const parts = new Map(Array.from({ length: 200_000 }, (_, index) => [`part-${index}`, 1]))
      await using writer = await fixture.spool.writer(id, parts)
      const next = await writer.createPart()
      expect(parts.has(next.file)).toBe(false)
      await next.discard()
    })

    it('appends at the requested end of the log, even if the log was cut shorter', async () => {
      {
        await using writer = await fixture.spool.writer(id, NOTHING)
        await writer.appendLog([Buffer.from('short')])
      }
      await using writer = await fixture.spool.writer(id, new Map([[LOG, 10]]))
      expect(writer.logBytes).toBe(10)
      await writer.appendLog([Buffer.from('after')])
      await using reader = fixture.spool.reader(id)
      expect(await readAll(reader, LOG, 10)).toEqual(Buffer.from('after'))
    })

    it('does not harm an archive if a writer opens it late: what another writer wrote meanwhile stays', async () => {
      const body = bodyOf(100_000, 'newer')
      let part = ''
      {
        await using newer = await fixture.spool.writer(id, NOTHING)
        await newer.appendLog([body])
        const written = await newer.createPart()
        part = written.file
        await written.write([body])
      }
      for (const keep of [NOTHING, new Map([[LOG, 10]])]) {
        await using late = await fixture.spool.writer(id, keep)
        expect(late.logBytes).toBe(keep.get(LOG) ?? 0)
      }
      await using reader = fixture.spool.reader(id)
      expect((await readAll(reader, LOG)).equals(body)).toBe(true)
      expect((await readAll(reader, part)).equals(body)).toBe(true)
    })

    it('never lets two writers of an archive write to the same file', async () => {
      const body = bodyOf(50_000, 'first')
      {
        await using first = await fixture.spool.writer(id, NOTHING)
        const part = await first.createPart()
        await first.appendLog([body])
        const opened = await fixture.spool.writer(id, NOTHING).catch((error) => error)
        if (opened instanceof Error) expect(opened).toBeInstanceOf(UnavailableError)
        else {
          await using second = opened
          expect(second.log).not.toBe(first.log)
          await second.appendLog([Buffer.from('second')])
          const other = await second.createPart()
          expect(other.file).not.toBe(part.file)
        }
        await part.write([body])
        await first.appendLog([body])
        await using reader = fixture.spool.reader(id)
        expect((await readAll(reader, part.file)).equals(body)).toBe(true)
        expect((await readAll(reader, first.log)).equals(Buffer.concat([body, body]))).toBe(true)
      }
      // The first writer is closed, so its place is free.
      await using _ = await fixture.spool.writer(id, NOTHING)
    })

    it('lists archives until they are removed, and may be asked to remove them several times', async () => {
      const other = newArchiveId()
      for (const each of [id, other]) {
        await using writer = await fixture.spool.writer(each, NOTHING)
        await writer.appendLog([Buffer.from(each)])
      }
      expect((await fixture.spool.list()).sort()).toEqual([id, other].sort())
      await fixture.spool.remove(id)
      await fixture.spool.remove(id)
      expect(await fixture.spool.list()).toEqual([other])
      await using reader = fixture.spool.reader(other)
      expect(await readAll(reader, LOG)).toEqual(Buffer.from(other))
    })

    it('lets a reader go on with the file that it has open when the archive is removed', async () => {
      const body = bodyOf(100_000, 'removed')
      await using writer = await fixture.spool.writer(id, NOTHING)
      await writer.appendLog([body])
      await using reader = fixture.spool.reader(id)
      await reader.read(LOG, 0, Buffer.alloc(10))
      await fixture.spool.remove(id)
      expect((await readAll(reader, LOG)).equals(body)).toBe(true)
    })

    it('lets a reader go on even if it has only read bytes that were at hand', async () => {
      const body = bodyOf(100_000, 'at hand')
      await using reader = fixture.spool.reader(id)
      {
        await using writer = await fixture.spool.writer(id, NOTHING)
        await writer.appendLog([body])
        reader.readRecent?.(LOG, 0, Buffer.alloc(10)) ?? (await reader.read(LOG, 0, Buffer.alloc(10)))
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      await fixture.spool.remove(id)
      expect((await readAll(reader, LOG)).equals(body)).toBe(true)
    })

    it('refuses to read an archive that does not exist, and with a closed reader', async () => {
      await using missing = fixture.spool.reader(id)
      await expect(missing.read(LOG, 0, Buffer.alloc(1))).rejects.toThrow()
      await using writer = await fixture.spool.writer(id, NOTHING)
      await writer.appendLog([Buffer.from('x')])
      const reader = fixture.spool.reader(id)
      await reader.read(LOG, 0, Buffer.alloc(1))
      await reader[Symbol.asyncDispose]()
      await reader[Symbol.asyncDispose]()
      await expect(reader.read(LOG, 0, Buffer.alloc(1))).rejects.toThrow()
    })

    it.each(['../../etc', '.', '', 'a/b', 'log'])('does not take %j as the id of an archive', async (text) => {
      await expect(fixture.spool.writer(text, NOTHING)).rejects.toThrow()
      await expect(fixture.spool.remove(text)).rejects.toThrow()
      expect(() => fixture.spool.reader(text)).toThrow()
    })
  })
}
