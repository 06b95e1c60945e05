// What decides if two submissions are the same: ids and hashes. Also file names.
import { describe, expect, it } from 'vitest'
import { archiveIdSchema, type CreateArchiveInput } from '#contracts/archive.ts'
import { nameOf, urlOf } from '../../../contracts/archive.ts'
import {
  archiveIdOf,
  fileNameOf,
  manifestBytes,
  manifestHashOf,
  withDefaults,
} from '../../../server/archives/manifest.ts'

const input: CreateArchiveInput = { archiveKey: 'k'.repeat(22), entries: ['http://a.test/', 'http://b.test/'] }

describe('archiveIdOf', () => {
  it('is a valid id, the same for the same principal and key, and reveals neither', () => {
    const id = archiveIdOf('alice', 'key')
    expect(archiveIdSchema.parse(id)).toBe(id)
    expect(archiveIdOf('alice', 'key')).toBe(id)
    // The value is fixed, because an id outlives the process that made it.
    expect(archiveIdOf('', 'x'.repeat(22))).toBe('oeRCtyzH-5jaV6x-DzcEpQ')
  })

  it('differs for another principal or key, even if both joined give the same text', () => {
    const ids = [
      ['a', 'b'],
      ['b', 'a'],
      ['ab', ''],
      ['', 'ab'],
      ['a","b', ''],
      ['a', 'c'],
    ] as const
    expect(new Set(ids.map(([principal, key]) => archiveIdOf(principal, key))).size).toBe(ids.length)
  })
})

describe('manifestHashOf', () => {
  const hash = manifestHashOf(input)
  it.each<[string, Partial<CreateArchiveInput>]>([
    ['the key', { archiveKey: 'x'.repeat(22) }],
    ['a cursor', { lastEventId: '5' }],
    ['defaults spelled out', { name: 'archive', format: 'zip', onEntryFailure: 'skip', whenUnwatched: 'abort' }],
    ['the extension in the name', { name: 'archive.zip' }],
    ['URLs as objects', { entries: [{ url: 'http://a.test/' }, { url: 'http://b.test/', name: undefined }] }],
  ])('is the same whatever %s', (_, change) => {
    expect(manifestHashOf({ ...input, ...change })).toBe(hash)
  })

  it.each<[string, Partial<CreateArchiveInput>]>([
    ['order', { entries: ['http://b.test/', 'http://a.test/'] }],
    ['URL', { entries: ['http://a.test/', 'http://b.test/?'] }],
    ['entry name', { entries: ['http://a.test/', { url: 'http://b.test/', name: 'b' }] }],
    ['empty entry name', { entries: ['http://a.test/', { url: 'http://b.test/', name: '' }] }],
    ['count', { entries: ['http://a.test/'] }],
    ['name', { name: 'other' }],
    ['format', { format: 'tar' }],
    ['compression', { compression: 'deflate' }],
    ['report', { report: true }],
    ['checksum', { checksum: 'sha-256' }],
    ['end at a failure', { onEntryFailure: 'abort' }],
    ['end without watchers', { whenUnwatched: 'finish' }],
  ])('differs for another %s', (_, change) => {
    expect(manifestHashOf({ ...input, ...change })).not.toBe(hash)
  })
})

it('withDefaults fills in what was left out', () => {
  expect(withDefaults(input)).toEqual({
    entries: input.entries,
    name: 'archive.zip',
    format: 'zip',
    compression: 'store',
    report: false,
    checksum: null,
    onEntryFailure: 'skip',
    whenUnwatched: 'abort',
  })
})

describe('fileNameOf', () => {
  it.each([
    ['photos', 'zip', 'photos.zip'],
    ['photos.zip', 'zip', 'photos.zip'],
    ['photos.ZIP', 'zip', 'photos.zip'],
    ['photos.zip', 'tar', 'photos.zip.tar'],
    ['photos.tar.gz', 'tar.gz', 'photos.tar.gz'],
    ['', 'zip', 'archive.zip'],
    [' ', 'zip', 'archive.zip'],
    ['.zip', 'zip', 'archive.zip'],
    ['../../etc/passwd', 'zip', '.._.._etc_passwd.zip'],
    ['C:\\x', 'zip', '_x.zip'],
    ['a"b\r\nc', 'zip', 'a_bc.zip'],
    ['con', 'zip', '_con.zip'],
    ['größe', 'tar', 'größe.tar'],
  ] as const)('%j as %s is %s', (name, format, expected) => {
    expect(fileNameOf(name, format)).toBe(expected)
  })

  it('is shortened between two characters', () => {
    const name = fileNameOf('\u{1f600}'.repeat(1_000), 'tar.gz')
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255)
    expect(name.isWellFormed()).toBe(true)
    expect(name.endsWith('.tar.gz')).toBe(true)
  })
})

it('urlOf and nameOf read both spellings of an entry', () => {
  const entries = ['u', { url: 'u' }, { url: 'u', name: 'n' }]
  expect(entries.map(urlOf)).toEqual(['u', 'u', 'u'])
  expect(entries.map(nameOf)).toEqual([null, null, 'n'])
})

it('manifestBytes counts UTF-8 bytes, and at least those of names and URLs', () => {
  expect(manifestBytes([])).toBe(2)
  expect(manifestBytes(['ab'])).toBe(JSON.stringify(['ab']).length + 1)
  expect(manifestBytes(['ü'])).toBe(manifestBytes(['ab']))
  expect(manifestBytes([{ url: 'a', name: 'b' }])).toBe(manifestBytes(['ab']))
})
