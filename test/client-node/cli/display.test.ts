// The stream on which progress is shown: what is redrawn, what stays, and what is left at the end.
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { createDisplay, type DisplayMode, displayModeOf } from '../../../client-node/cli/display.ts'
import type { View } from '../../../client-node/cli/render.ts'
import { initialState } from '../../../contracts/state.ts'

const view: View = {
  state: initialState,
  downloadedBytes: 0,
  elapsedMs: 6_000,
  downloadBytesPerSecond: null,
  lost: null,
  checking: false,
}

async function shown(mode: DisplayMode): Promise<string> {
  const stream = new PassThrough()
  using display = createDisplay(stream, mode, () => view)
  await new Promise((resolve) => setTimeout(resolve, 350))
  display.note('\x1b[31mfailed\x1b[39m')
  await new Promise((resolve) => setTimeout(resolve, 150))
  display.end()
  display.note('done')
  stream.end()
  return await text(stream)
}

describe('progress', () => {
  it.each([
    [{ isTTY: true }, true, 'xterm', 'bar'],
    [{ isTTY: true }, true, undefined, 'bar'],
    [{ isTTY: true }, true, 'dumb', 'lines'],
    [{}, true, 'xterm', 'lines'],
    [{ isTTY: true }, false, 'xterm', 'silent'],
  ])('on %j, wanted: %s, TERM=%s is shown as %s', (stream, wanted, term, mode) => {
    expect(displayModeOf(stream, wanted, term)).toBe(mode)
  })

  it('is one line that is redrawn below the notes, and is erased at the end', async () => {
    const output = await shown('bar')
    const [first, second, third, ...rest] = output.split('\n')
    expect(first).toMatch(/^\rasking {2}\[.*\x1b\[K\r\x1b\[K\x1b\[31mfailed\x1b\[39m$/)
    expect(second).toMatch(/^\rasking .*\x1b\[K\r\x1b\[Kdone$/)
    expect([third, rest]).toEqual(['', []])
  })

  it('is plain lines without escape sequences if there is no terminal', async () => {
    expect(await shown('lines')).toBe('asking, 0%, 0/0 entries, 0 B\nfailed\ndone\n')
  })

  it('is not shown if it is not wanted', async () => {
    expect(await shown('silent')).toBe('failed\ndone\n')
  })
})
