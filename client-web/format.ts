// Formats numbers for people: rates, durations, time left. Pure; no words besides units.
import type { Progress } from '#contracts/events.ts'
import { formatBytes } from '#contracts/sizes.ts'

export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`
}

/** Uses at most two units: "0.4 s", "12 s", "3 min 5 s", "1 h 20 min". */
export function formatDuration(ms: number): string {
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return joined(minutes, 'min', seconds % 60, 's')
  const allMinutes = Math.round(seconds / 60)
  return joined(Math.floor(allMinutes / 60), 'h', allMinutes % 60, 'min')
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`
}

/**
 * Estimates how long fetching still takes; null if too little is known. `expectedBytes` covers only entries whose
 * origins have reported a size. Entries that have not begun are taken to have the average size of these.
 */
export function timeLeftMs(progress: Progress): number | null {
  const { sealedEntries, failedEntries, totalEntries, receivedBytes, expectedBytes, bytesPerSecond, active } = progress
  if (progress.phase !== 'fetching' || expectedBytes === null || bytesPerSecond <= 0) return null
  const begun = sealedEntries + active.length
  if (begun === 0) return null
  const waiting = Math.max(0, totalEntries - failedEntries - begun)
  const bytesLeft = Math.max(0, expectedBytes - receivedBytes) + (waiting * expectedBytes) / begun
  return (bytesLeft / bytesPerSecond) * 1000
}

/** An estimate must not look exact, so it has whole seconds below a minute, then half minutes, then minutes. */
export function formatTimeLeft(ms: number): string {
  const stepMs = ms < 60_000 ? 1000 : ms < 600_000 ? 30_000 : 60_000
  const roundedMs = Math.max(1, Math.ceil(ms / stepMs)) * stepMs
  return `about ${roundedMs < 60_000 ? `${roundedMs / 1000} s` : formatDuration(roundedMs)}`
}

/** For example "1 entry", "2 entries". */
export function count(number: number, one: string, many: string): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`
}
