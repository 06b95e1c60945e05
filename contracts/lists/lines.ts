// Splits text into numbered lines, whatever ends them: CR LF, LF, or CR alone. Reads the text once and keeps nothing.

export interface Line {
  /** From 1. */
  readonly number: number
  readonly text: string
}

/** `firstNumber` is that of the first line, if `text` is a part of a list. */
export function* linesOf(text: string, firstNumber = 1): Generator<Line> {
  let number = firstNumber
  let start = 0
  let lf = text.indexOf('\n')
  let cr = text.indexOf('\r')
  while (lf !== -1 || cr !== -1) {
    const end = cr === -1 || (lf !== -1 && lf < cr) ? lf : cr
    yield { number, text: text.slice(start, end) }
    start = end + (end === cr && lf === cr + 1 ? 2 : 1)
    number++
    if (lf !== -1 && lf < start) lf = text.indexOf('\n', start)
    if (cr !== -1 && cr < start) cr = text.indexOf('\r', start)
  }
  yield { number, text: text.slice(start) }
}

/** Gives the line of a place in `text`. Places must be asked for in ascending order, so that `text` is read once. */
export function createLineCounter(text: string): (place: number) => number {
  let number = 1
  let at = 0
  return (place) => {
    for (; at < place; at++) {
      const code = text.charCodeAt(at)
      // The CR of CR LF does not count, the LF behind it does.
      if (code === 0x0a || (code === 0x0d && text.charCodeAt(at + 1) !== 0x0a)) number++
    }
    return number
  }
}
