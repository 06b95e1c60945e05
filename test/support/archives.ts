// Makes requests and facts for tests. Each has fixed values, and a test names only those that matter to it.
import { randomBytes } from 'node:crypto'
import type { ArchiveRequest, Fact, WholeBody } from '../../server/ports/journal.ts'

export function newArchiveId(): string {
  return randomBytes(16).toString('base64url')
}

export function requestOf(overrides: Partial<ArchiveRequest> = {}): ArchiveRequest {
  return {
    archiveId: newArchiveId(),
    manifestHash: 'hash',
    name: 'archive.zip',
    format: 'zip',
    compression: 'store',
    report: false,
    checksum: null,
    onEntryFailure: 'skip',
    whenUnwatched: 'finish',
    totalEntries: 3,
    acceptedAtMs: 1_000,
    nonce: 'AAAAAAAAAAA',
    ...overrides,
  }
}

export function wholeBody(index: number, overrides: Partial<WholeBody> = {}): WholeBody {
  return {
    index,
    file: 'log',
    offset: 0,
    sizeBytes: 1,
    crc32: 0xdeadbeef,
    deflated: null,
    modifiedMs: null,
    proposedName: 'a',
    ...overrides,
  }
}

export function stagedFact(index: number, overrides: Partial<WholeBody> = {}) {
  return { type: 'entry-staged', ...wholeBody(index, overrides) } as const satisfies Fact
}

export function sealedFact(index: number, overrides: Partial<WholeBody & { headerEnd: number | null }> = {}) {
  return { type: 'entry-sealed', name: 'a', headerEnd: 31, ...wholeBody(index), ...overrides } as const satisfies Fact
}

export function failedFact(index: number) {
  return { type: 'entry-failed', index, code: 'HTTP_STATUS', attempts: 1, httpStatus: 404 } as const satisfies Fact
}

export function archiveSealedFact(expiresAtMs: number) {
  return {
    type: 'archive-sealed',
    sizeBytes: 10,
    extents: [{ file: 'log', offset: 0, length: 10 }],
    sealedEntries: 1,
    failedEntries: 0,
    durationMs: 5,
    sha256: null,
    sealedAtMs: 2_000,
    expiresAtMs,
  } as const satisfies Fact
}

export function abortedFact(expiresAtMs: number) {
  return { type: 'aborted', code: 'CANCELLED', expiresAtMs } as const satisfies Fact
}
