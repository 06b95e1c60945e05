// Makes any text a name that every system can extract, and makes the names of one archive unique. No I/O.
import { MAX_NAME_LENGTH } from '#contracts/archive.ts'
import { cutEnd, cutMiddle } from '../lib/text.ts'

const MAX_SEGMENT_BYTES = 255
const MAX_NAME_BYTES = 1024
/** Deeper folders are dropped: it bounds what one name costs, and no system's tools like such trees. */
const MAX_FOLDERS = 32

/** Controls, line separators, lone surrogates, the byte order mark, and what turns the direction of writing (UAX 9). */
const UNSEEN = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f\ufeff]/gu
/** Windows takes these in no file name; ":" also opens a stream of another file. */
const RESERVED = /[<>:"|?*]/g
/** A device on Windows, with any extension, and with spaces before it. */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\.|$)/i
/** With the ".tar" of a packed archive, so that "a.tar.gz" becomes "a (2).tar.gz". */
const EXTENSION = /(?:\.tar)?\.[^. ]{1,16}$/i

/** UTF-16 units in a row; no language needs so many (UAX 15, Stream-Safe Text Format). */
const MAX_MARKS = 30
const MARKS = /\p{M}+/gu
const TWO_MARKS = /\p{M}\p{M}/u

/** What most names are: clean already, unless they name a device. */
const PLAIN = /^[\w-]+(?:\.[\w-]+)*$/
const ASCII = /^[\0-\x7f]*$/

/**
 * A relative, "/"-separated name in NFC, at most 1024 bytes of UTF-8 in segments of at most 255, none of them empty,
 * "." or "..". What is clean already stays as it is. Of a longer name than can be asked for, beginning and end are looked
 * at: earlier versions journalled any. `index` is the entry's place in the manifest, for a name of nothing.
 */
export function cleanEntryName(raw: string, index: number): string {
  if (raw.length <= MAX_SEGMENT_BYTES && PLAIN.test(raw) && !DEVICE.test(raw)) return raw
  // NFC comes last of all that can bring two characters together, and before anything is judged or measured.
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

/** NFC in linear time: it sorts runs of marks, in the square of their length. Again after it: one mark can become two. */
function compose(text: string): string {
  return ASCII.test(text) ? text : withFewMarks(withFewMarks(text).normalize('NFC'))
}

function withFewMarks(text: string): string {
  if (!TWO_MARKS.test(text)) return text
  return text.replace(MARKS, (run) => (run.length <= MAX_MARKS ? run : cutEnd(run, MAX_MARKS)))
}

/** Segments without `\\server\share`, a drive letter or leading separators. */
function withoutRoot(path: string): string[] {
  const segments = path.split(/[/\\]/)
  if (path.startsWith('\\\\')) segments.splice(0, Math.min(4, segments.length - 1))
  const first = segments.findIndex((segment) => segment !== '')
  if (first !== -1) segments[first] = segments[first]!.replace(/^[A-Za-z]:/, '')
  return segments
}

/** Empty if nothing is left. */
function cleanSegment(segment: string): string {
  if (segment === '') return segment
  const fitted = fitSegment(withoutTail(segment.replace(RESERVED, '_')))
  return DEVICE.test(fitted) ? fitSegment(`_${fitted}`) : fitted
}

/** Windows drops dots and spaces at the end. A loop, because /[. ]+$/ takes quadratic time. */
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

/** The longest beginning of so many bytes. By hand, as Node's encodeInto sometimes stops one code point too early. */
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
  /** The name itself, or with " (2)" and so on where a file or folder has it. Takes what `cleanEntryName` gave. */
  take(cleaned: string): string
}

const ROOT = 0
/** What " (2)" and its successors may need, up to " (99999999)". */
const MAX_SUFFIX_BYTES = 11

/**
 * Names of one archive, unique as Windows and macOS compare them; the same calls in the same order give the same names.
 * It holds one short string for each file and folder, and remembers where counting stopped, so that many equal names
 * cost no more than as many different ones.
 */
export function createNamer(): EntryNamer {
  /** The tree, flat: by "parent/folded segment", at the root the segment alone. */
  const files = new Set<string>()
  /** With the number by which it is a parent. */
  const folderNumbers = new Map<string, number>()
  /** A folder whose name a file had before, and the segment that stands for it. */
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
    // Keyed by what is counted, not by what was asked for: long names may differ only in what is cut off.
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

  /** Null if suffixes made the name too long. Its folders stay taken then, which harms nobody. */
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
 * Lower, upper, lower: so ß, ẞ and ss, ſ and s, the Kelvin sign and k are each the same. Coarser than file systems. Most
 * names are lower already, and cost no second string.
 */
function foldCase(text: string): string {
  if (ASCII.test(text)) return text.toLowerCase()
  return text.toLowerCase().toUpperCase().normalize('NFC').toLowerCase()
}
