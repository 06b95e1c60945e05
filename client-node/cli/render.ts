// Turns events and states into lines of text for a person. Pure: knows the terminal's width only, and no clock.
import type { ArchivePlan, ServerInfo } from '#contracts/api.ts'
import type { AbortedEvent, FileFailedEvent, WaitingOrigin } from '#contracts/events.ts'
import { formatBytes } from '#contracts/sizes.ts'
import { type ArchiveState, settledFraction } from '#contracts/state.ts'

/** Everything that a progress display shows. Times count from the request for the archive. */
export interface View {
  readonly state: ArchiveState
  /** Bytes of the archive that the client has. */
  readonly downloadedBytes: number
  readonly elapsedMs: number
  /** The client's download rate over the last seconds; null while it is not known. */
  readonly downloadBytesPerSecond: number | null
  /** Why there is no connection; null while there is one. */
  readonly lost: string | null
  /** True while the downloaded archive is checked. */
  readonly checking: boolean
}

/**
 * Text from elsewhere must not move the cursor, change colours or reorder a line. So control and format characters
 * (bidi among them), lone surrogates and line separators become escapes.
 */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0
    return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
  })
}

export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  const two = (value: number) => String(value).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`
}

type FailureShown = Pick<FileFailedEvent, 'url' | 'message' | 'code' | 'attempts' | 'httpStatus'>

/** For example "https://a.example/x.png: the origin answered with an error status 404 (HTTP_STATUS, 3 attempts)". */
export function failureLine({ url, message, code, attempts, httpStatus }: FailureShown): string {
  const status = httpStatus === null ? '' : ` ${httpStatus}`
  const tries = attempts > 1 ? `, ${attempts} attempts` : ''
  return `${printable(url)}: ${printable(message)}${status} (${printable(code)}${tries})`
}

export function abortedLine({ code, message, retryable }: AbortedEvent): string {
  return `no archive: ${printable(message)} (${printable(code)}${retryable ? ', trying again may help' : ''})`
}

/** From 0 to 1. An archive is done when its entries are settled and all its bytes are downloaded. */
export function doneFraction({ state, downloadedBytes }: View): number {
  const settled = settledFraction(state)
  if (state.terminal?.type !== 'complete') return Math.min(settled, 0.999)
  const { sizeBytes } = state.terminal
  return sizeBytes === 0 ? 1 : Math.min(1, downloadedBytes / sizeBytes)
}

function label({ state: { accepted, progress, terminal }, lost, checking }: View): string {
  if (checking) return 'checking'
  if (lost !== null) return 'no connection, trying again'
  if (terminal !== null) return 'downloading'
  if (accepted === null) return 'asking'
  if (progress === null) return 'accepted'
  const { phase, queuePosition, waiting } = progress
  const [first] = waiting
  if (first !== undefined && progress.active.every(({ receivedBytes }) => receivedBytes === 0))
    return waitingLabel(first)
  return phase === 'queued' && queuePosition !== null ? `queued, ${queuePosition} before` : phase
}

/** "images.example.org asked us to wait 40 s" */
function waitingLabel({ origin, untilMs }: WaitingOrigin): string {
  const seconds = Math.max(1, Math.ceil(untilMs / 1000))
  const time = seconds < 120 ? `${seconds} s` : formatDuration(untilMs)
  return `${printable(URL.parse(origin)?.host ?? origin)} asked us to wait ${time}`
}

/** Returns null if it would be a mere guess. */
export function timeLeftMs(view: View): number | null {
  const { state, downloadedBytes, downloadBytesPerSecond, elapsedMs, checking } = view
  if (checking || state.progress?.phase === 'packing') return null
  if (state.terminal?.type === 'complete') {
    if (!downloadBytesPerSecond) return null
    return ((state.terminal.sizeBytes - downloadedBytes) / downloadBytesPerSecond) * 1000
  }
  const fraction = settledFraction(state)
  if (fraction < 0.02 || elapsedMs < 1000) return null
  const byEntries = (elapsedMs * (1 - fraction)) / fraction
  const { receivedBytes = 0, expectedBytes = null, bytesPerSecond = 0 } = state.progress ?? {}
  // Bytes show large bodies late in the list long before their entries settle, so the longer estimate is taken.
  if (expectedBytes === null || bytesPerSecond <= 0) return byEntries
  return Math.max(byEntries, ((expectedBytes - receivedBytes) / bytesPerSecond) * 1000)
}

interface Facts {
  label: string
  percent: string
  entries: string
  bytes: string
  rate: string | null
  left: string | null
  failed: string | null
}

function factsOf(view: View): Facts {
  const { state, downloadedBytes, downloadBytesPerSecond } = view
  const { accepted, progress, terminal, failures } = state
  const complete = terminal?.type === 'complete' ? terminal : null
  const total = accepted?.totalEntries ?? progress?.totalEntries ?? 0
  const settled = complete ? total : (progress?.sealedEntries ?? 0) + (progress?.failedEntries ?? 0)
  // While the server packs it receives nothing, so its last rate is out of date.
  const serverRate = progress?.phase === 'fetching' ? progress.bytesPerSecond : null
  const rate = complete ? downloadBytesPerSecond : serverRate
  const left = timeLeftMs(view)
  return {
    label: label(view),
    percent: `${Math.floor(doneFraction(view) * 100)}%`,
    entries: `${settled}/${total}`,
    bytes: formatBytes(complete ? downloadedBytes : (progress?.receivedBytes ?? 0)),
    rate: rate ? `${formatBytes(rate)}/s` : null,
    left: left === null ? null : `${formatDuration(left)} left`,
    failed: failures.length > 0 ? `${failures.length} failed` : null,
  }
}

const MAX_BAR = 40
const MIN_BAR = 10

/** Returns a line of at most `width` columns. If it is too long, the bar goes first, then what matters least. */
export function progressBar(view: View, width: number): string {
  const { label, percent, entries, bytes, rate, left, failed } = factsOf(view)
  const byWorth = [
    [label, percent, entries, bytes, rate, left, failed],
    [label, percent, entries, bytes, left, failed],
    [label, percent, entries, failed],
    [percent, entries, failed],
    [percent],
  ].map((parts) => parts.filter((part) => part !== null))
  const parts = byWorth.find((parts) => parts.join('  ').length <= width) ?? []
  const room = Math.min(MAX_BAR, width - parts.join('  ').length - 4)
  if (room < MIN_BAR) return parts.join('  ')
  const filled = Math.floor(doneFraction(view) * room)
  const bar = '='.repeat(filled) + (filled < room ? '>' : '') + ' '.repeat(Math.max(0, room - filled - 1))
  return [parts[0], `[${bar}]`, ...parts.slice(1)].join('  ')
}

/** The same facts as a line for a log or a pipe, which cannot draw a line again. */
export function progressLine(view: View): string {
  const { label, percent, entries, bytes, rate, left, failed } = factsOf(view)
  return [label, percent, `${entries} entries`, bytes, rate, left, failed].filter((part) => part !== null).join(', ')
}

export interface Reported {
  readonly decile: number
  readonly atMs: number
}

/** There is a line every 5 seconds, and at every 10 % if the last line is at least a second old. */
export function isWorthALine(reported: Reported, { decile, atMs }: Reported): boolean {
  const silentMs = atMs - reported.atMs
  return silentMs >= 5000 || (decile > reported.decile && silentMs >= 1000)
}

/** For example "out.zip: 97 of 100 entries, 1.2 GiB in 0:12 (102.4 MiB/s), 3 failed". */
export function summaryLine(path: string | null, sizeBytes: number, { state, elapsedMs }: View): string {
  const failed = state.failures.length
  const total = state.accepted?.totalEntries ?? 0
  const entries = failed > 0 ? `${total - failed} of ${total} entries` : `${total} ${total === 1 ? 'entry' : 'entries'}`
  const seconds = elapsedMs / 1000
  const duration = seconds < 60 ? `${seconds.toFixed(1)} s` : formatDuration(elapsedMs)
  const rate = formatBytes(sizeBytes / Math.max(seconds, 0.001))
  const where = path === null ? 'standard output' : printable(path)
  const failures = failed > 0 ? `, ${failed} failed` : ''
  return `${where}: ${entries}, ${formatBytes(sizeBytes)} in ${duration} (${rate}/s)${failures}`
}

export function infoLines(
  url: string,
  { version, protocol, formats, limits, abandonMs, retentionMs }: ServerInfo,
): string[] {
  return [
    `sheaf ${printable(version)} at ${printable(url)}, protocol ${protocol}`,
    `formats: ${printable(formats.join(', '))}`,
    `limits: ${limits.maxEntries} entries, a manifest of ${formatBytes(limits.maxManifestBytes)}, ` +
      `${formatBytes(limits.maxEntryBytes)} an entry, ${formatBytes(limits.maxArchiveBytes)} an archive`,
    `an archive nobody watches or downloads ends after ${formatDuration(abandonMs)}, ` +
      `a complete one stays for ${formatDuration(retentionMs)}`,
  ]
}

/** A row for each entry, numbered from 1, and a last line for all. `urls` are those of the manifest. */
export function planLines(
  { name, entries, predictedBytes }: ArchivePlan,
  urls: readonly string[],
  head: boolean,
): string[] {
  const rows = entries.map(({ index, name, sizeBytes, asked, failure }) => {
    if (failure !== null)
      return { index, size: '-', text: failureLine({ ...failure, url: urls[index] ?? '', attempts: 0 }) }
    const note = head && !asked ? ' (there was no time to ask for it)' : ''
    return { index, size: sizeBytes === null ? '?' : formatBytes(sizeBytes), text: printable(name ?? '') + note }
  })
  const indexWidth = String(rows.length).length
  const sizeWidth = rows.reduce((width, { size }) => Math.max(width, size.length), 0)
  const lines = rows.map(
    ({ index, size, text }) => `${String(index + 1).padStart(indexWidth)}  ${size.padStart(sizeWidth)}  ${text}`,
  )
  const refused = entries.filter(({ failure }) => failure !== null).length
  const unknown = entries.filter(({ failure, sizeBytes }) => failure === null && sizeBytes === null).length
  const knownBytes = entries.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0)
  const size = predictedBytes === null ? `at least ${formatBytes(knownBytes)}` : formatBytes(predictedBytes)
  const facts = [`${entries.length - refused} of ${entries.length} entries`, size]
  if (unknown > 0) facts.push(`${unknown} of unknown size`)
  if (refused > 0) facts.push(`${refused} would fail`)
  return [...lines, `${printable(name)}: ${facts.join(', ')}`]
}
