// Judges JSON before it is parsed, by its depth and number of tokens, in one pass over the text. No I/O.

export interface JsonLimits {
  readonly maxDepth: number
  /** The most values and keys, counted together. */
  readonly maxTokens: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
/** The longest number or word. Anything longer is not JSON, or is a number with digits that no longer count. */
const MAX_WORD_LENGTH = 64

/**
 * Returns why the text is not worth parsing, or null; it may still not be JSON. Linear in time, and allocates nothing.
 */
export function judgeJson(text: string, { maxDepth, maxTokens }: JsonLimits): string | null {
  let depth = 0
  let tokens = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    // Space, tab, line breaks, comma, colon.
    if (code === 0x20 || code === 0x2c || code === 0x3a || code === 0x0a || code === 0x0d || code === 0x09) continue
    // "]" and "}".
    if (code === 0x5d || code === 0x7d) {
      depth--
      continue
    }
    if (++tokens > maxTokens) return `has more than ${maxTokens} values and keys`
    if (code === QUOTE) {
      at = endOfString(text, at)
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > maxDepth) return `is nested deeper than ${maxDepth}`
    } else {
      const end = endOfWord(text, at)
      if (end - at >= MAX_WORD_LENGTH) return `has a number or word of more than ${MAX_WORD_LENGTH} characters`
      at = end
    }
  }
  return null
}

/** Finds the closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return end
  }
  return text.length
}

/** Finds the last character of the word that begins at `start`; gives up after MAX_WORD_LENGTH. */
function endOfWord(text: string, start: number): number {
  let at = start
  while (at + 1 < text.length && at - start < MAX_WORD_LENGTH && !isDelimiter(text.charCodeAt(at + 1))) at++
  return at
}

const isDelimiter = (code: number) => code <= 0x20 || code === 0x2c || code === 0x3a || code === 0x5d || code === 0x7d
