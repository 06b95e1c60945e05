// The console's line for each event, and the events that it leaves out.
import { describe, expect, it } from 'vitest'
import { appendLine, type ConsoleLine, lineOf, MAX_LINES } from '../../client-web/console-lines.ts'
import type { ArchiveEvent, ProgressEvent } from '../../contracts/events.ts'
import { type ArchiveState, fold, initialState } from '../../contracts/state.ts'

const accepted: ArchiveEvent = {
  type: 'accepted',
  archiveId: 'A'.repeat(22),
  protocol: 1,
  name: 'pictures.zip',
  format: 'zip',
  totalEntries: 20,
  href: '/archives/x/pictures.zip',
  acceptedAt: '2026-01-02T03:04:05.000Z',
}

function progress(part: Partial<ProgressEvent>): ProgressEvent {
  return {
    type: 'progress',
    phase: 'fetching',
    queuePosition: null,
    sealedEntries: 0,
    failedEntries: 0,
    totalEntries: 20,
    receivedBytes: 1_500,
    expectedBytes: null,
    readableBytes: 0,
    bytesPerSecond: 2_000,
    active: [],
    waiting: [],
    ...part,
  }
}

/** Returns all lines that the console shows for these events. */
function texts(events: ArchiveEvent[]): string[] {
  const said: string[] = []
  let state: ArchiveState = initialState
  for (const event of events) {
    const line = lineOf(event, state)
    if (line !== null) said.push(line.text)
    state = fold(state, event)
  }
  return said
}

describe('lineOf', () => {
  it('has a line for the acceptance', () => {
    expect(texts([accepted])).toEqual(['accepted: pictures.zip, 20 entries'])
  })

  it('has a line for each failure, with place, URL, code, status and reason', () => {
    const failed: ArchiveEvent = {
      type: 'file-failed',
      index: 2,
      url: 'http://a/3',
      name: null,
      code: 'HTTP_STATUS',
      message: 'the origin answered with an error status',
      retryable: false,
      attempts: 1,
      httpStatus: 404,
    }
    expect(lineOf(failed, initialState)).toEqual({
      tone: 'bad',
      text: 'failed: #3 http://a/3: HTTP_STATUS (HTTP 404), the origin answered with an error status',
    })
  })

  it('has a line when the place in the queue changes, and when fetching begins', () => {
    expect(
      texts([
        progress({ phase: 'queued', queuePosition: 2 }),
        progress({ phase: 'queued', queuePosition: 2 }),
        progress({ phase: 'queued', queuePosition: 1 }),
        progress({ phase: 'queued', queuePosition: 0 }),
        progress({}),
        progress({}),
        progress({ phase: 'packing', sealedEntries: 20 }),
        progress({ phase: 'packing', sealedEntries: 20 }),
      ]),
    ).toEqual([
      'queued: 2 archives before this one',
      'queued: 1 archive before this one',
      'queued: next in line',
      'fetching',
      'packing',
    ])
  })

  it('has one line for each tenth of the entries', () => {
    const events = [0, 1, 2, 3, 4, 4, 20].map((sealedEntries) => progress({ sealedEntries }))
    expect(texts(events)).toEqual([
      'fetching',
      'fetching: 2 of 20 entries, 1.5 KiB, 2.0 KiB/s',
      'fetching: 4 of 20 entries, 1.5 KiB, 2.0 KiB/s',
      'fetching: 20 of 20 entries, 1.5 KiB, 2.0 KiB/s',
    ])
  })

  it('leaves out a rate that is not known yet', () => {
    expect(texts([progress({ sealedEntries: 2, bytesPerSecond: 0 })])).toEqual(['fetching: 2 of 20 entries, 1.5 KiB'])
  })

  it('counts failed entries as finished', () => {
    expect(texts([progress({ sealedEntries: 1, failedEntries: 1 })])).toEqual([
      'fetching: 2 of 20 entries, 1.5 KiB, 2.0 KiB/s',
    ])
  })

  it.each([
    [0, 'complete: 19 entries, 1.1 MiB in 3.0 s'],
    [1, 'complete: 19 entries, 1 failed, 1.1 MiB in 3.0 s'],
  ])('has a line for the end, with %i failed entries', (failedEntries, text) => {
    const complete: ArchiveEvent = {
      type: 'complete',
      href: '/archives/x/pictures.zip',
      sizeBytes: 1_200_000,
      etag: '"x"',
      sha256: null,
      sealedEntries: 19,
      failedEntries,
      durationMs: 3_000,
      expiresAt: '2026-01-02T03:04:05.000Z',
    }
    expect(lineOf(complete, initialState)).toEqual({ tone: 'good', text })
  })

  it('has a line with the code if the archive was aborted', () => {
    const aborted: ArchiveEvent = { type: 'aborted', code: 'NO_SPACE', message: 'no space', retryable: true }
    expect(lineOf(aborted, initialState)).toEqual({ tone: 'bad', text: 'ended: NO_SPACE, no space' })
  })
})

describe('appendLine', () => {
  it('keeps the newest lines only, each with its own key', () => {
    let lines: ConsoleLine[] = []
    for (let number = 1; number <= MAX_LINES + 5; number++)
      lines = appendLine(lines, { tone: 'plain', text: `${number}` })
    expect(lines).toHaveLength(MAX_LINES)
    expect(lines[0]?.text).toBe('6')
    expect(lines.at(-1)?.text).toBe(`${MAX_LINES + 5}`)
    expect(new Set(lines.map(({ key }) => key)).size).toBe(MAX_LINES)
  })
})
