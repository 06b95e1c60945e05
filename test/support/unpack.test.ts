// Tests the readers that do not use the central directory: they find faults that no other reader finds.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { readAsStream } from './streaming-reader.ts'
import { tempDirectory } from './temp.ts'
import { everyReader, verifyZip, type ZipReader } from './unpack.ts'

const only = (...readers: ZipReader[]) => ({ without: everyReader.filter((reader) => !readers.includes(reader)) })

async function zipOf(python: string) {
  const directory = await tempDirectory()
  const path = join(directory.path, 'a.zip')
  execFileSync('python3', ['-c', `import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\n${python}`, path])
  return { path, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() }
}

it('finds an entry that is missing in the central directory', async () => {
  await using zip = await zipOf(
    "z.writestr('told.txt', 'a'); z.writestr('hidden.txt', 'b'); z.filelist.pop(); z.writestr('last.txt', 'c'); z.close()",
  )
  await verifyZip(zip.path, only('unzip', '7z', 'python3'))
  await expect(verifyZip(zip.path, only('bsdtar', 'bsdtar from a pipe'))).rejects.toThrow(/other entries.*hidden\.txt/s)
  await expect(verifyZip(zip.path, only('python3', 'java'))).rejects.toThrow(
    'java reads 3 entries that are not those 2',
  )
})

it('refuses a body that differs from its header, and can still read the next archive', async () => {
  const damage = "f = open(sys.argv[1], 'r+b'); f.seek(35); f.write(b'X'); f.close()"
  await using bad = await zipOf(`z.writestr('a.txt', 'hello'); z.close(); ${damage}`)
  await using good = await zipOf("z.writestr('ä €.txt', 'hello'); z.close()")
  await expect(verifyZip(bad.path, only('bsdtar from a pipe'))).rejects.toThrow('bad CRC')
  await expect(verifyZip(bad.path, only('java'))).rejects.toThrow('invalid entry CRC')
  await expect(readAsStream('/nowhere.zip', 10_000)).rejects.toThrow('FileNotFoundException')
  expect(await readAsStream(good.path, 10_000)).toEqual([{ name: 'ä €.txt', size: 5, crc32: 0x3610a686 }])
})
