// Cuts long text cheaply, before anything costlier is done with it. Keeps whole characters. Knows no meaning.

/** Keeps the beginning and the end of a text longer than `length` UTF-16 units. Returns a shorter one as it is. */
export function cutMiddle(text: string, length: number): string {
  if (text.length <= length) return text
  const head = Math.ceil(length / 2)
  const tail = text.length - (length - head)
  // Neither cut may split a surrogate pair, because the two halves left over would form another character.
  return text.slice(0, isInPair(text, head) ? head - 1 : head) + text.slice(isInPair(text, tail) ? tail + 1 : tail)
}

/** Keeps the beginning of a text longer than `length` UTF-16 units. Returns a shorter one as it is. */
export function cutEnd(text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, isInPair(text, length) ? length - 1 : length)
}

function isInPair(text: string, at: number): boolean {
  return at > 0 && text.codePointAt(at - 1)! > 0xffff
}
