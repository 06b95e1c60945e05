// Turns any text into a name that every system can extract, and makes the names of one archive unique. No I/O.
import { MAX_NAME_LENGTH } from '#contracts/archive.ts'
import { cutEnd, cutMiddle } from '../lib/text.ts'

const MAX_SEGMENT_BYTES = 255
const MAX_NAME_BYTES = 1024
/** Deeper folders are dropped. This bounds the cost of a name, and no system's tools like such trees. */
const MAX_FOLDERS = 32

/** Controls, line separators, lone surrogates, the byte order mark, and what changes the direction of text (UAX 9). */
const UNSEEN = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f\ufeff]/gu
/** Windows allows these in no file name, and ":" would open a stream of another file. Others refuse noncharacters. */
const RESERVED = /[<>:"|?*\p{Noncharacter_Code_Point}]/gu
/** Windows takes these names for devices, even with an extension or with spaces before that. */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\.|$)/i
/** An extension includes the ".tar" of a packed archive, so that "a.tar.gz" becomes "a (2).tar.gz". */
const EXTENSION = /(?:\.tar)?\.[^. ]{1,16}$/i

/** How many UTF-16 units of marks may follow each other. No language needs more (UAX 15, Stream-Safe Text Format). */
const MAX_MARKS = 30
const MARKS = /\p{M}+/gu
const TWO_MARKS = /\p{M}\p{M}/u

const ASCII = /^[\0-\x7f]*$/

/**
 * Returns a relative name in NFC with "/" between its segments. It has at most 1024 bytes of UTF-8, each segment has at most
 * 255, and no segment is empty, "." or "..". A clean name stays as it is. Names longer than a client may ask for exist because
 * earlier versions journalled any name; only their beginning and end are used. `index` is the entry's place in the manifest. It
 * gives the name if nothing of `raw` is left.
 */
export function cleanEntryName(raw: string, index: number): string {
  // NFC follows every step that can bring two characters together, and comes before anything is judged or measured.
  const segments = withoutRoot(compose(cutMiddle(raw, MAX_NAME_LENGTH).replace(UNSEEN, '')))
  let leaf = ''
  while (leaf === '' && segments.length > 0) leaf = cleanSegment(segments.pop()!)
  if (leaf === '') leaf = `file-${String(index + 1).padStart(4, '0')}`
  const folders: string[] = []
  for (const segment of segments) {
    if (folders.length === MAX_FOLDERS) break
    const folder = cleanSegment(segment)
    if (folder !== '') folders.push(folder)
  }
  let nameBytes = Buffer.byteLength([...folders, leaf].join('/'))
  while (nameBytes > MAX_NAME_BYTES) nameBytes -= Buffer.byteLength(folders.pop()!) + 1
  return [...folders, leaf].join('/')
}

/**
 * Returns NFC in linear time. Runs of marks are cut first, because NFC sorts a run in quadratic time. They are cut again after
 * it, because one mark can become two.
 */
function compose(text: string): string {
  return ASCII.test(text) ? text : withFewMarks(withFewMarks(text).normalize('NFC'))
}

function withFewMarks(text: string): string {
  if (!TWO_MARKS.test(text)) return text
  return text.replace(MARKS, (run) => (run.length <= MAX_MARKS ? run : cutEnd(run, MAX_MARKS)))
}

/** Splits a path into segments, and drops `\\server\share`, a drive letter and leading separators. */
function withoutRoot(path: string): string[] {
  const segments = path.split(/[/\\]/)
  if (path.startsWith('\\\\')) segments.splice(0, Math.min(4, segments.length - 1))
  const first = segments.findIndex((segment) => segment !== '')
  if (first !== -1) segments[first] = segments[first]!.replace(/^[A-Za-z]:/, '')
  return segments
}

/** Returns an empty segment if nothing is left. */
function cleanSegment(segment: string): string {
  if (segment === '') return segment
  const fitted = fitSegment(withoutTail(segment.replace(RESERVED, '_')))
  return DEVICE.test(fitted) ? fitSegment(`_${fitted}`) : fitted
}

/** Drops dots and spaces at the end, as Windows does. It is a loop, because /[. ]+$/ takes quadratic time. */
function withoutTail(segment: string): string {
  let end = segment.length
  while (end > 0 && (segment[end - 1] === '.' || segment[end - 1] === ' ')) end--
  return segment.slice(0, end)
}

function fitSegment(segment: string): string {
  if (Buffer.byteLength(segment) <= MAX_SEGMENT_BYTES) return segment
  const { stem, extension } = splitExtension(segment)
  return withoutTail(cut(stem, MAX_SEGMENT_BYTES - Buffer.byteLength(extension)) + extension)
}

function splitExtension(segment: string): { stem: string; extension: string } {
  const at = segment.search(EXTENSION)
  return at > 0 ? { stem: segment.slice(0, at), extension: segment.slice(at) } : { stem: segment, extension: '' }
}

/**
 * Returns the longest beginning of at most `maxBytes`. Node's encodeInto could do this, but it sometimes stops one code point
 * too early.
 */
function cut(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text
  let bytes = 0
  let end = 0
  for (const point of text) {
    bytes += Buffer.byteLength(point)
    if (bytes > maxBytes) break
    end += point.length
  }
  return text.slice(0, end)
}

export interface EntryNamer {
  /** Returns the name itself, or with " (2)" and so on if it is taken. The name must come from `cleanEntryName`. */
  take(cleaned: string): string
}

const ROOT = 0
/** Room for " (2)" and its successors, up to " (99999999)". */
const MAX_SUFFIX_BYTES = 11

/**
 * Makes the names of one archive unique as Windows and macOS compare them. The same calls in the same order give the same
 * names. It holds one short string for each file and folder. It remembers where counting stopped, so that equal names cost no
 * more than different ones.
 */
export function createNamer(): EntryNamer {
  /** The files of the tree by "parent/folded segment". At the root the key is the segment alone. */
  const files = new Set<string>()
  /** The folders by the same keys, with the number that stands for them as `parent`. */
  const folderNumbers = new Map<string, number>()
  /** Folders whose name a file had before, with the segment that is used instead. */
  const renamedFolders = new Map<string, string>()
  const nextSuffixes = new Map<string, number>()
  let lastFolder = ROOT

  function keyOf(parent: number, segment: string): string {
    const folded = foldCase(segment)
    return parent === ROOT ? folded : `${parent}/${folded}`
  }

  const isTaken = (key: string) => files.has(key) || folderNumbers.has(key)

  function withSuffix(parent: number, stem: string, extension: string): string {
    const base = cut(stem, MAX_SEGMENT_BYTES - MAX_SUFFIX_BYTES - Buffer.byteLength(extension))
    // The key is the name after the cut, because long names may differ only in what is cut off.
    const family = keyOf(parent, `${base}/${extension}`)
    for (let suffix = nextSuffixes.get(family) ?? 2; ; suffix++) {
      const candidate = `${base} (${suffix})${extension}`
      if (isTaken(keyOf(parent, candidate))) continue
      nextSuffixes.set(family, suffix)
      return candidate
    }
  }

  function folderIn(parent: number, wanted: string): { folder: number; segment: string } {
    let key = keyOf(parent, wanted)
    let segment = wanted
    if (files.has(key)) {
      segment = renamedFolders.get(key) ?? withSuffix(parent, wanted, '')
      renamedFolders.set(key, segment)
      key = keyOf(parent, segment)
    }
    const folder = folderNumbers.get(key) ?? ++lastFolder
    folderNumbers.set(key, folder)
    return { folder, segment }
  }

  /** Returns null if suffixes made the name too long. Its folders stay taken then, which does no harm. */
  function place(folders: readonly string[], leaf: string): string | null {
    let parent = ROOT
    let path = ''
    for (const wanted of folders) {
      const { folder, segment } = folderIn(parent, wanted)
      parent = folder
      path += `${segment}/`
    }
    let segment = leaf
    let key = keyOf(parent, segment)
    if (isTaken(key)) {
      const { stem, extension } = splitExtension(leaf)
      segment = withSuffix(parent, stem, extension)
      key = keyOf(parent, segment)
    }
    const name = path + segment
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) return null
    files.add(key)
    return name
  }

  return {
    take(cleaned) {
      const folders = cleaned.split('/')
      const leaf = folders.pop()!
      for (;;) {
        const name = place(folders, leaf)
        if (name !== null) return name
        folders.pop()
      }
    },
  }
}

/**
 * Folds to lower, upper and lower case, so that ß, ẞ and ss are the same, ſ and s, and also the Kelvin sign and k. File systems
 * see more differences than that. Most names are in lower case already, and need no second string.
 */
function foldCase(text: string): string {
  if (ASCII.test(text)) return text.toLowerCase()
  return text.toLowerCase().toUpperCase().normalize('NFC').toLowerCase()
}
