// Cuts text of any length before anything is done with it that costs more than that. Whole characters, no meaning.

/** The beginning and the end of a text that is longer than `length` UTF-16 units; any other as it is. */
export function cutMiddle(text: string, length: number): string {
  if (text.length <= length) return text
  const head = Math.ceil(length / 2)
  const tail = text.length - (length - head)
  // Neither ends inside a surrogate pair: the halves of two would be a third.
  return text.slice(0, isInPair(text, head) ? head - 1 : head) + text.slice(isInPair(text, tail) ? tail + 1 : tail)
}

/** The beginning of a text that is longer than `length` UTF-16 units; any other as it is. */
export function cutEnd(text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, isInPair(text, length) ? length - 1 : length)
}

function isInPair(text: string, at: number): boolean {
  return at > 0 && text.codePointAt(at - 1)! > 0xffff
}
