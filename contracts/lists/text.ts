// Small operations on text. Each reads it once, whatever it holds; a regex anchored only at the end may read it again and again.

/** The beginning of a text, with a mark if more follows. Never half a surrogate pair. */
export function cut(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text
  const last = text.charCodeAt(maxLength - 2)
  return `${text.slice(0, last >= 0xd800 && last <= 0xdbff ? maxLength - 2 : maxLength - 1)}…`
}

/** Cuts characters off both ends for as long as `isStripped` is true. */
export function strip(text: string, isStripped: (character: string) => boolean): string {
  let start = 0
  let end = text.length
  while (start < end && isStripped(text[start]!)) start++
  while (end > start && isStripped(text[end - 1]!)) end--
  return text.slice(start, end)
}

/** `trim` leaves some that mail programs and web pages put beside a URL. Most characters are visible ASCII. */
const isInvisible = (character: string) =>
  (character <= ' ' || character > '~') && /[\s\u200b-\u200f\u2060\ufeff]/.test(character)

export function trimAll(text: string): string {
  return strip(text, isInvisible)
}

/**
 * Finds the next place of a text in `text`. Places to search from must ascend for each text: what was found, and that
 * nothing was, is remembered, so that all searches together cost one reading.
 */
export function createFinder(text: string): (wanted: string, from: number) => number {
  const places = new Map<string, number>()
  return (wanted, from) => {
    const known = places.get(wanted)
    if (known !== undefined && (known === -1 || known >= from)) return known
    const place = text.indexOf(wanted, from)
    places.set(wanted, place)
    return place
  }
}

export type Finder = ReturnType<typeof createFinder>

/** Where a match ends that begins at `from`; `from` if there is none. `regex` is sticky. */
export function matchEnd(regex: RegExp, text: string, from: number): number {
  regex.lastIndex = from
  return regex.test(text) ? regex.lastIndex : from
}

/** A file's name ends so; longer or purely numeric ends are more likely parts of a sentence or a version. */
const EXTENSION = /\.(?:[a-z][a-z0-9]{1,4}|7z)$/i

export function hasExtension(name: string): boolean {
  return EXTENSION.test(name.slice(-8))
}
