// Which archives the benchmark accepts: real zips, sound and damaged.
import { execFile } from 'node:child_process'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type TempDirectory, tempDirectory } from '../support/temp.ts'
import { checkZip, WrongArchive } from './check.ts'
import { ALL_IN_ONE, type LaidFiles, layFiles } from './files.ts'

const PACK = `
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as archive:
  for path in sys.argv[2:]: archive.write(path, os.path.basename(path))
`

let directory: TempDirectory
let laid: LaidFiles
const at = (name: string) => join(directory.path, name)
const pack = (...names: string[]) => promisify(execFile)('python3', ['-c', PACK, at('a.zip'), ...names.map(at)])
const check = (sizeBytes: number | null = null) => checkZip(at('a.zip'), sizeBytes, laid.expected)

beforeEach(async () => {
  directory = await tempDirectory()
  laid = await layFiles(directory.path, [1000, 2000, 5 * 1024 * 1024], 1)
})

afterEach(() => directory[Symbol.asyncDispose]())

describe('the files of an origin', () => {
  it('are the same for the same seed, and otherwise all different', async () => {
    await using other = await tempDirectory()
    const again = await layFiles(other.path, [1000, 2000, 5 * 1024 * 1024], 1)
    expect([...again.expected]).toEqual([...laid.expected])
    const crcs = [...laid.expected.values()].map(({ crc32 }) => crc32)
    const others = [...(await layFiles(other.path, [1000, 2000], 2)).expected.values()].map(({ crc32 }) => crc32)
    expect(new Set([...crcs, ...others]).size).toBe(5)
  })

  it('also exist as one file that contains them all', async () => {
    const whole = await readFile(at(ALL_IN_ONE))
    expect(whole.equals(Buffer.concat(await Promise.all(laid.names.map((name) => readFile(at(name))))))).toBe(true)
    expect(await readdir(directory.path)).toHaveLength(4)
  })
})

describe('the check of an archive', () => {
  it('accepts an archive that holds every file', async () => {
    await pack(...laid.names)
    await check((await stat(at('a.zip'))).size)
  })

  it('finds an entry that is missing', async () => {
    await pack(...laid.names.slice(1))
    await expect(check()).rejects.toThrow('2 entries instead of 3')
  })

  it('finds an entry with the bytes of another file, even if its checksum fits them', async () => {
    const other = await readFile(at(laid.names[1]!))
    await writeFile(at(laid.names[0]!), other.subarray(0, 1000))
    await pack(...laid.names)
    await expect(check()).rejects.toThrow('has other bytes than its file')
  })

  it('finds an entry that nobody asked for', async () => {
    await pack(...laid.names, ALL_IN_ONE)
    await expect(check()).rejects.toThrow('nobody asked for')
  })

  it('finds one flipped bit in the middle of a body', async () => {
    await pack(...laid.names)
    const bytes = await readFile(at('a.zip'))
    bytes[3_000_000]! ^= 1
    await writeFile(at('a.zip'), bytes)
    await expect(check()).rejects.toThrow(WrongArchive)
  })

  it('finds that fewer bytes were served than the archive has', async () => {
    await pack(...laid.names)
    const { size } = await stat(at('a.zip'))
    await expect(check(size - 1)).rejects.toThrow(WrongArchive)
  })
})
