// Reads zips with Java's ZipInputStream, which reads front to back and never seeks. One JVM serves a whole test file.
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

export interface StreamedMember {
  readonly name: string
  readonly size: number
  readonly crc32: number
}

type Jvm = ChildProcessByStdio<Writable, Readable, Readable>

interface StreamingReader {
  read(path: string, timeoutMs: number): Promise<StreamedMember[]>
}

const program = fileURLToPath(new URL('ReadZip.java', import.meta.url))
/** With these it starts in half the time and reads as fast, because its hot code is intrinsics. */
const options = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx256m']

let current: StreamingReader | null = null
/** Requests go one at a time. This settles when the last one is answered. */
let turn: Promise<unknown> = Promise.resolve()

/** Returns all entries in order, each read to its end and checked against its CRC. @throws Java's error if it rejects one */
export function readAsStream(path: string, timeoutMs: number): Promise<StreamedMember[]> {
  const members = turn.then(() => {
    current ??= startJvm(() => {
      current = null
    })
    return current.read(path, timeoutMs)
  })
  turn = members.catch(() => {})
  return members
}

function startJvm(ended: () => void): StreamingReader {
  const env = { ...process.env, LC_ALL: 'C.UTF-8' }
  const jvm: Jvm = spawn('java', [...options, program], { env, stdio: ['pipe', 'pipe', 'pipe'] })
  const lines = createInterface({ input: jvm.stdout })[Symbol.asyncIterator]()
  let complaint = ''
  jvm.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  const over = once(jvm, 'close').then(
    ([code, signal]) => new Error(`java ended with ${signal ?? code}: ${complaint.trim()}`),
    (error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' ? new Error('java is not installed', { cause: error }) : error,
  )
  void over.then(ended)
  jvm.stdin.on('error', () => {})
  // The JVM ends when its input does. It must not keep this process alive while it is idle.
  const handles = [jvm, jvm.stdin as Socket, jvm.stdout as Socket, jvm.stderr as Socket]
  for (const handle of handles) handle.unref()

  return {
    async read(path, timeoutMs) {
      for (const handle of handles) handle.ref()
      const tooLong = setTimeout(() => jvm.kill('SIGKILL'), timeoutMs)
      try {
        jvm.stdin.write(`${path}\n`)
        const members: StreamedMember[] = []
        for (;;) {
          const line = await lines.next()
          if (line.done) throw await over
          if (line.value === 'end') return members
          const [, size, crc32, name] = /^(\d+) (\d+) (.*)$/s.exec(line.value) ?? []
          if (name === undefined) throw new Error(`java: ${line.value}`)
          members.push({ name, size: Number(size), crc32: Number(crc32) })
        }
      } finally {
        clearTimeout(tooLong)
        for (const handle of handles) handle.unref()
      }
    },
  }
}
