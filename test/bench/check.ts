// Checks an archive: another program reads every byte of it, and each entry must equal its file.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import type { Expected } from './files.ts'

/** An archive is not what was asked for. This is the only thing that fails a benchmark. */
export class WrongArchive extends Error {
  override readonly name = 'WrongArchive'
}

// read() compares the checksum at the end of each member, and raises an error if it differs.
const READ_ZIP = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
  for info in archive.infolist():
    with archive.open(info) as body:
      while body.read(1048576): pass
    print(info.CRC, info.file_size, info.filename)
`

/** `sizeBytes` is how many bytes the download had. Null if that is not known. @throws WrongArchive */
export async function checkZip(
  path: string,
  sizeBytes: number | null,
  expected: ReadonlyMap<string, Expected>,
): Promise<void> {
  const { size } = await stat(path)
  if (sizeBytes !== null && size !== sizeBytes) {
    throw new WrongArchive(`${sizeBytes} bytes were served of an archive of ${size}`)
  }
  const child = spawn('python3', ['-c', READ_ZIP, path], { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'close')
  const errors = text(child.stderr)
  const found = new Set<string>()
  let problem: string | null = null
  for await (const line of createInterface({ input: child.stdout })) {
    problem ??= judgeEntry(line, found, expected)
  }
  const [code] = await exited
  if (code !== 0) throw new WrongArchive(`no good zip: ${(await errors).trim().split('\n').at(-1)}`)
  if (problem !== null) throw new WrongArchive(problem)
  if (found.size !== expected.size) throw new WrongArchive(`${found.size} entries instead of ${expected.size}`)
}

function judgeEntry(line: string, found: Set<string>, expected: ReadonlyMap<string, Expected>): string | null {
  const [crc, size, ...rest] = line.split(' ')
  const name = rest.join(' ')
  const wanted = expected.get(name)
  if (wanted === undefined) return `an entry "${name}" that nobody asked for`
  if (found.has(name)) return `the entry "${name}" twice`
  found.add(name)
  const isSame = Number(crc) === wanted.crc32 && Number(size) === wanted.sizeBytes
  return isSame ? null : `the entry "${name}" has other bytes than its file`
}
