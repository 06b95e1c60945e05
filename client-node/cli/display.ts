// Shows progress on a stream, either as one line that is drawn again, or as a new line now and then. Owns the timer.
import type { WriteStream } from 'node:tty'
import { stripVTControlCharacters } from 'node:util'
import { doneFraction, isWorthALine, progressBar, progressLine, type Reported, type View } from './render.ts'

export interface Display extends Disposable {
  /** Prints a line that stays, above the bar. */
  note(line: string): void
  /** Removes the bar and shows no more progress. */
  end(): void
}

export type DisplayMode = 'bar' | 'lines' | 'silent'

const REDRAW_MS = 100
const LOOK_MS = 250

/** A terminal can draw a line again, unless $TERM is "dumb". */
export function displayModeOf(stream: { isTTY?: boolean }, wanted: boolean, term: string | undefined): DisplayMode {
  if (!wanted) return 'silent'
  return stream.isTTY && term !== 'dumb' ? 'bar' : 'lines'
}

export function createDisplay(stream: NodeJS.WritableStream, mode: DisplayMode, view: () => View): Display {
  let drawn = ''
  let reported: Reported = { decile: 0, atMs: 0 }

  const erase = () => {
    if (drawn !== '') stream.write('\r\x1b[K')
    drawn = ''
  }
  const draw = () => {
    // One column stays free, because some terminals would wrap the line and could not draw it again.
    const next = progressBar(view(), columnsOf(stream) - 1)
    if (next === drawn) return
    stream.write(`\r${next}\x1b[K`)
    drawn = next
  }
  const look = () => {
    const now = view()
    const next = { decile: Math.floor(doneFraction(now) * 10), atMs: now.elapsedMs }
    if (!isWorthALine(reported, next)) return
    reported = next
    stream.write(`${progressLine(now)}\n`)
  }

  const timer =
    mode === 'silent' ? undefined : setInterval(mode === 'bar' ? draw : look, mode === 'bar' ? REDRAW_MS : LOOK_MS)
  const end = () => {
    clearInterval(timer)
    erase()
  }
  return {
    note(line) {
      erase()
      // Only a terminal can show colours.
      stream.write(`${mode === 'bar' ? line : stripVTControlCharacters(line)}\n`)
    },
    end,
    [Symbol.dispose]: end,
  }
}

function columnsOf(stream: NodeJS.WritableStream): number {
  const { columns } = stream as Partial<WriteStream>
  return columns !== undefined && columns > 0 ? columns : 80
}
