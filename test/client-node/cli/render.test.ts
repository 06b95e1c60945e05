// What is printed for a person: it is never wider than the terminal, and cannot harm it.
import { describe, expect, it } from 'vitest'
import { createRateMeter } from '../../../client-node/cli/rate.ts'
import {
  abortedLine,
  failureLine,
  formatDuration,
  isWorthALine,
  planLines,
  printable,
  progressBar,
  progressLine,
  summaryLine,
  timeLeftMs,
  type View,
} from '../../../client-node/cli/render.ts'
import type {
  AcceptedEvent,
  ArchiveEvent,
  CompleteEvent,
  FileFailedEvent,
  ProgressEvent,
} from '../../../contracts/events.ts'
import { fold, initialState } from '../../../contracts/state.ts'

const MIB = 1024 * 1024

const accepted: AcceptedEvent = {
  type: 'accepted',
  archiveId: 'AAAAAAAAAAAAAAAAAAAAAA',
  protocol: 1,
  name: 'archive.zip',
  format: 'zip',
  totalEntries: 100,
  href: '/archives/AAAAAAAAAAAAAAAAAAAAAA/archive.zip',
  acceptedAt: '2026-01-01T00:00:00.000Z',
}
const progress: ProgressEvent = {
  type: 'progress',
  phase: 'fetching',
  queuePosition: null,
  sealedEntries: 48,
  failedEntries: 2,
  totalEntries: 100,
  receivedBytes: 50 * MIB,
  expectedBytes: 110 * MIB,
  readableBytes: 48 * MIB,
  bytesPerSecond: 5 * MIB,
  active: [],
  waiting: [],
}
const failed: FileFailedEvent = {
  type: 'file-failed',
  index: 3,
  url: 'https://a.example/x.png',
  name: null,
  code: 'HTTP_STATUS',
  message: 'the origin answered with an error status',
  retryable: false,
  attempts: 3,
  httpStatus: 404,
}
const complete: CompleteEvent = {
  type: 'complete',
  href: accepted.href,
  sizeBytes: 100 * MIB,
  etag: '"x.1"',
  sha256: null,
  sealedEntries: 99,
  failedEntries: 1,
  durationMs: 5000,
  expiresAt: '2026-01-02T00:00:00.000Z',
}

function viewOf(events: ArchiveEvent[], more: Partial<View> = {}): View {
  const state = events.reduce(fold, initialState)
  return {
    state,
    downloadedBytes: 0,
    elapsedMs: 10_000,
    downloadBytesPerSecond: null,
    lost: null,
    checking: false,
    ...more,
  }
}

describe('text from elsewhere', () => {
  it.each([
    ['plain/ünïcode/日本.png', 'plain/ünïcode/日本.png'],
    ['\x1b[31mred\x07', '\\x1b[31mred\\x07'],
    ['a\r\nb\tc', 'a\\x0d\\x0ab\\x09c'],
    ['\x9b2J', '\\x9b2J'],
    ['txt.\u202egpj', 'txt.\\u{202e}gpj'],
    ['zero\u200bwidth', 'zero\\u{200b}width'],
    ['\u2028', '\\u{2028}'],
    ['\ud800!', '\\u{d800}!'],
    ['\u{e0001}', '\\u{e0001}'],
  ])('%j is printed as %j', (text, shown) => {
    expect(printable(text)).toBe(shown)
  })

  it('is escaped in lines about failures', () => {
    expect(failureLine({ ...failed, url: 'http://x/\x1b[2J' })).toMatch(/^http:\/\/x\/\\x1b\[2J: /)
  })
})

describe('numbers', () => {
  it.each([
    [0, '0:00'],
    [59_400, '0:59'],
    [59_600, '1:00'],
    [3_599_000, '59:59'],
    [3_661_000, '1:01:01'],
  ])('%d ms are %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })

  it('are a rate over the last few seconds only', () => {
    const meter = createRateMeter()
    expect(meter.rate(0)).toBeNull()
    for (let second = 0; second <= 10; second++) meter.add(second * 1000, second < 6 ? 0 : (second - 6) * 1000)
    expect(meter.rate(10_000)).toBe(1000)
    expect(meter.rate(14_000)).toBe(0)
    meter.add(15_000, 5)
    expect(meter.rate(15_000)).toBeNull()
  })
})

describe('the progress bar', () => {
  const view = viewOf([accepted, failed, progress])

  it('shows progress, amount, speed and remaining time', () => {
    expect(progressBar(view, 120)).toBe(
      `fetching  [${`${'='.repeat(20)}>`.padEnd(40)}]  50%  50/100  50.0 MiB  5.0 MiB/s  0:12 left  1 failed`,
    )
  })

  it.each([
    [72, 'fetching  50%  50/100  50.0 MiB  5.0 MiB/s  0:12 left  1 failed'],
    [60, 'fetching  50%  50/100  50.0 MiB  0:12 left  1 failed'],
    [40, 'fetching  50%  50/100  1 failed'],
    [22, '50%  50/100  1 failed'],
    [8, '50%'],
    [1, ''],
  ])('leaves out what does not fit in %d columns', (width, text) => {
    expect(progressBar(view, width)).toBe(text)
  })

  it('is never wider than asked for', () => {
    for (let width = 0; width < 200; width++) expect(progressBar(view, width).length).toBeLessThanOrEqual(width)
  })

  it.each<[string, View]>([
    ['asking', viewOf([])],
    ['accepted', viewOf([accepted])],
    ['queued, 4 before', viewOf([accepted, { ...progress, phase: 'queued', queuePosition: 4 }])],
    ['packing', viewOf([accepted, { ...progress, phase: 'packing' }])],
    ['no connection, trying again', viewOf([accepted, progress], { lost: 'connection lost' })],
    ['downloading', viewOf([accepted, progress, complete])],
    ['checking', viewOf([accepted, progress, complete], { checking: true })],
  ])('says "%s"', (label, view) => {
    expect(progressBar(view, 120).startsWith(`${label}  `)).toBe(true)
  })

  it('is full only when all bytes have come', () => {
    const all = { ...progress, sealedEntries: 98 }
    expect(progressBar(viewOf([accepted, all]), 120)).toContain('99%')
    const half = viewOf([accepted, all, complete], { downloadedBytes: 50 * MIB, downloadBytesPerSecond: 10 * MIB })
    expect(progressBar(half, 120)).toMatch(/ 50% {2}100\/100 {2}50.0 MiB {2}10.0 MiB\/s {2}0:05 left/)
    expect(progressBar(viewOf([accepted, complete], { downloadedBytes: 100 * MIB }), 120)).toContain('100%')
  })

  it('shows no rate after the end', () => {
    const packing = viewOf([accepted, { ...progress, phase: 'packing', sealedEntries: 98 }])
    expect(progressBar(packing, 120)).toMatch(/^packing {2}\[=+> *\] {2}99% {2}100\/100 {2}50.0 MiB$/)
  })

  it('shows no remaining time while nothing is known', () => {
    expect(timeLeftMs(viewOf([accepted]))).toBeNull()
    expect(timeLeftMs(viewOf([accepted, progress], { elapsedMs: 500 }))).toBeNull()
    expect(timeLeftMs(viewOf([accepted, { ...progress, expectedBytes: null }]))).toBe(10_000)
  })
})

describe('lines', () => {
  it('say the same as the bar', () => {
    expect(progressLine(viewOf([accepted, failed, progress]))).toBe(
      'fetching, 50%, 50/100 entries, 50.0 MiB, 5.0 MiB/s, 0:12 left, 1 failed',
    )
  })

  it.each([
    [{ decile: 1, atMs: 900 }, false],
    [{ decile: 1, atMs: 1000 }, true],
    [{ decile: 0, atMs: 4999 }, false],
    [{ decile: 0, atMs: 5000 }, true],
  ])('come every 10 % or 5 s: %j is %s', (now, worth) => {
    expect(isWorthALine({ decile: 0, atMs: 0 }, now)).toBe(worth)
  })

  it('summarise the result', () => {
    const view = viewOf([accepted, failed, complete])
    expect(summaryLine('out.zip', 100 * MIB, view)).toBe(
      'out.zip: 99 of 100 entries, 100.0 MiB in 10.0 s (10.0 MiB/s), 1 failed',
    )
    expect(summaryLine(null, 0, viewOf([{ ...accepted, totalEntries: 1 }, complete], { elapsedMs: 75_000 }))).toBe(
      'standard output: 1 entry, 0 B in 1:15 (0 B/s)',
    )
  })

  it('report failures with their codes', () => {
    expect(failureLine(failed)).toBe(
      'https://a.example/x.png: the origin answered with an error status 404 (HTTP_STATUS, 3 attempts)',
    )
    const message = 'nothing could be fetched'
    expect(abortedLine({ type: 'aborted', code: 'NO_ENTRIES', message, retryable: true })).toBe(
      'no archive: nothing could be fetched (NO_ENTRIES, trying again may help)',
    )
  })
})

describe('a plan', () => {
  const failure = { code: 'HTTP_STATUS', message: 'an error status', retryable: false, httpStatus: 404 } as const
  const entry = { index: 0, name: 'a\u202eb.bin', sizeBytes: 2048, asked: true, failure: null }
  const urls = Array.from({ length: 10 }, (_, at) => `http://a.example/${at}`)

  it('has a row for each entry, and a summary', () => {
    const entries = urls.map((_, index) => ({ ...entry, index }))
    entries[1] = { ...entry, index: 1, name: null, sizeBytes: null, failure } as never
    const lines = planLines({ name: 'x.zip', format: 'zip', entries, predictedBytes: 5000 }, urls, true)
    expect(lines).toHaveLength(11)
    expect(lines[0]).toBe(' 1  2.0 KiB  a\\u{202e}b.bin')
    expect(lines[1]).toBe(' 2        -  http://a.example/1: an error status 404 (HTTP_STATUS)')
    expect(lines[9]).toBe('10  2.0 KiB  a\\u{202e}b.bin')
    expect(lines[10]).toBe('x.zip: 9 of 10 entries, 4.9 KiB, 1 would fail')
  })

  it('says which sizes are unknown, and which entries there was no time to ask for', () => {
    const entries = [entry, { ...entry, index: 1, name: 'b', sizeBytes: null, asked: false }]
    const plan = { name: 'x.zip', format: 'zip', entries, predictedBytes: null } as const
    expect(planLines({ ...plan, entries }, urls, true).slice(1)).toEqual([
      '2        ?  b (there was no time to ask for it)',
      'x.zip: 2 of 2 entries, at least 2.0 KiB, 1 of unknown size',
    ])
    expect(planLines({ ...plan, entries }, urls, false)[1]).toBe('2        ?  b')
  })
})
