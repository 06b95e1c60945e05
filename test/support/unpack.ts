// Reads archives with other people's programs, so that our own code is never its own witness. A missing program is an error.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tempDirectory } from './temp.ts'

export interface ZipMember {
  name: string
  crc32: number
  size: number
  body: Buffer
}

export interface TarMember {
  name: string
  size: number
  body: Buffer
}

const TIMEOUT_MS = 120_000
const MAX_OUTPUT_BYTES = 2 ** 30

const TEST_ZIP = `
import sys, zipfile
bad = zipfile.ZipFile(sys.argv[1]).testzip()
if bad is not None: sys.exit('first bad member: ' + repr(bad))
`

// Each member as: length of the header (4 bytes, big-endian), header (JSON), body. read() checks the CRC.
const READ_ZIP = `
import json, struct, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
  for info in archive.infolist():
    head = json.dumps({'name': info.filename, 'crc32': info.CRC, 'size': info.file_size}).encode()
    sys.stdout.buffer.write(struct.pack('>I', len(head)) + head + archive.read(info))
`

/** Throws unless unzip, 7z, bsdtar and Python's zipfile all take the archive as sound. */
export async function verifyZip(path: string): Promise<void> {
  await run('unzip', ['-tqq', path])
  await run('7z', ['t', '-bd', path])
  await run('bsdtar', ['-tf', path])
  await run('python3', ['-c', TEST_ZIP, path])
}

/** All members in the order of the central directory, as Python's zipfile reads them; CRCs are checked. */
export async function readZip(path: string): Promise<ZipMember[]> {
  const stream = await run('python3', ['-c', READ_ZIP, path])
  const members: ZipMember[] = []
  for (let at = 0; at < stream.length; ) {
    const bodyAt = at + 4 + stream.readUInt32BE(at)
    const head = JSON.parse(stream.toString('utf8', at + 4, bodyAt)) as Omit<ZipMember, 'body'>
    at = bodyAt + head.size
    members.push({ ...head, body: stream.subarray(bodyAt, at) })
  }
  return members
}

/** Names in the order of the archive, folders with their trailing slash; also of compressed ones. */
export async function listTar(path: string): Promise<string[]> {
  const listing = await run('tar', ['--quoting-style=literal', '-tf', path])
  return listing.toString().split('\n').slice(0, -1)
}

/** All files in the order of the archive, as GNU tar extracts them; also from compressed ones. */
export async function readTar(path: string): Promise<TarMember[]> {
  await using directory = await tempDirectory()
  await run('tar', ['-xf', path, '-C', directory.path, '--no-same-owner'])
  const members: TarMember[] = []
  for (const name of await listTar(path)) {
    if (name.endsWith('/')) continue
    const body = await readFile(join(directory.path, name))
    members.push({ name, size: body.length, body })
  }
  return members
}

function run(program: string, parameters: string[]): Promise<Buffer> {
  // A UTF-8 locale, or unzip and tar show names with other characters as question marks.
  const env = { ...process.env, LC_ALL: 'C.UTF-8' }
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      parameters,
      { encoding: 'buffer', env, maxBuffer: MAX_OUTPUT_BYTES, timeout: TIMEOUT_MS },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout)
        if (error.code === 'ENOENT') return reject(new Error(`${program} is not installed`, { cause: error }))
        const output = `${stderr}${stdout.subarray(0, 4096)}`.trim()
        const end = error.killed ? 'was killed' : `ended with ${error.signal ?? error.code}`
        reject(new Error(`${program} ${end}: ${output}`, { cause: error }))
      },
    )
    // Nobody is there to answer a question, for example for a password.
    child.stdin?.end()
  })
}
