// Reads archives with other people's programs, so that our code is not checked by itself. A missing program is an error.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { readAsStream } from './streaming-reader.ts'
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
import json, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
bad = archive.testzip()
if bad is not None: sys.exit('first bad member: ' + repr(bad))
print(json.dumps([{'name': i.filename, 'size': i.file_size, 'crc32': i.CRC} for i in archive.infolist()]))
`

/** Standard input is a pipe, so bsdtar cannot seek: it knows an entry only from the header before its body. */
const READ_PIPE = 'cat "$1" | bsdtar -xvOf - 2>&1 >/dev/null'

// Prints each member as length of the header (4 bytes, big-endian), header (JSON), and body. read() checks the CRC.
const READ_ZIP = `
import json, struct, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
  for info in archive.infolist():
    head = json.dumps({'name': info.filename, 'crc32': info.CRC, 'size': info.file_size}).encode()
    sys.stdout.buffer.write(struct.pack('>I', len(head)) + head + archive.read(info))
`

export const everyReader = ['unzip', '7z', 'bsdtar', 'python3', 'bsdtar from a pipe', 'java'] as const
export type ZipReader = (typeof everyReader)[number]

export interface VerifyOptions {
  /** Readers to leave out because they are known to fail on this archive. @default none */
  without?: readonly ZipReader[]
  /** How long each reader may take. @default two minutes */
  timeoutMs?: number
}

/**
 * Throws unless every reader accepts the archive. unzip, 7z, bsdtar and Python's zipfile use the central directory. bsdtar
 * from a pipe and Java's ZipInputStream do not, and must find the same entries as the others.
 */
export async function verifyZip(path: string, options: VerifyOptions = {}): Promise<void> {
  const { without = [], timeoutMs = TIMEOUT_MS } = options
  const reads = (reader: ZipReader) => !without.includes(reader)
  if (reads('unzip')) await run('unzip', ['-tqq', path], timeoutMs)
  if (reads('7z')) await run('7z', ['t', '-bd', path], timeoutMs)
  const listed = reads('bsdtar') ? (await run('bsdtar', ['-tf', path], timeoutMs)).toString() : null
  const members = reads('python3') ? JSON.parse(`${await run('python3', ['-c', TEST_ZIP, path], timeoutMs)}`) : null
  if (reads('bsdtar from a pipe')) {
    const told = (await run('sh', ['-c', READ_PIPE, 'sh', path], timeoutMs)).toString()
    const piped = told.replaceAll(/^x /gm, '')
    if (listed !== null && piped !== listed) throw new Error(`bsdtar reads other entries from a pipe:\n${piped}`)
  }
  if (reads('java')) {
    const streamed = await readAsStream(path, timeoutMs)
    if (members !== null && !isDeepStrictEqual(streamed.map(comparable), members.map(comparable))) {
      throw new Error(`java reads ${streamed.length} entries that are not those ${members.length} of python3`)
    }
  }
}

const comparable = ({ name, size, crc32 }: Omit<ZipMember, 'body'>) => [name, size, crc32]

/** Returns all members as Python's zipfile reads them, in the order of the central directory. It checks their CRCs. */
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

/** Returns the names in the order of the archive, folders with a trailing slash. The archive may be compressed. */
export async function listTar(path: string): Promise<string[]> {
  const listing = await run('tar', ['--quoting-style=literal', '-tf', path])
  return listing.toString().split('\n').slice(0, -1)
}

/** Returns all files as GNU tar extracts them, in the order of the archive. The archive may be compressed. */
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

function run(program: string, parameters: string[], timeoutMs = TIMEOUT_MS): Promise<Buffer> {
  // Without a UTF-8 locale unzip and tar print question marks for characters outside ASCII.
  const env = { ...process.env, LC_ALL: 'C.UTF-8' }
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      parameters,
      { encoding: 'buffer', env, maxBuffer: MAX_OUTPUT_BYTES, timeout: timeoutMs },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout)
        if (error.code === 'ENOENT') return reject(new Error(`${program} is not installed`, { cause: error }))
        const output = `${stderr}${stdout.subarray(0, 4096)}`.trim()
        const end = error.killed ? 'was killed' : `ended with ${error.signal ?? error.code}`
        reject(new Error(`${program} ${end}: ${output}`, { cause: error }))
      },
    )
    // A program that asks a question, for example for a password, gets the end of its input instead of an answer.
    child.stdin?.end()
  })
}
