// Is loaded into a process under test: it logs every address that process dials, below net.Socket and TLS. Reads that log, too.
//
// It wraps Node's TCP handle, the last JavaScript before connect(2). net, tls, happy eyeballs and undici all end there, and
// none can go around it. strace would see more, but needs ptrace, which containers may not permit. It also shows UDP sockets
// that getaddrinfo "connects" only to sort its answers, and over which nothing is ever sent.
import { appendFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

type Connect = (request: unknown, address: string, port: unknown, ...more: unknown[]) => number
type Binding = (name: 'tcp_wrap') => { TCP: { prototype: Record<'connect' | 'connect6', Connect> } }

const { DIAL_LOG } = process.env
if (DIAL_LOG) install(DIAL_LOG)

function install(file: string): void {
  const { TCP } = (process as unknown as { binding: Binding }).binding('tcp_wrap')
  for (const family of ['connect', 'connect6'] as const) {
    const dial = TCP.prototype[family]
    TCP.prototype[family] = function (this: unknown, request, address, port, ...more) {
      // Written synchronously, so that the log is complete even if the process is killed.
      appendFileSync(file, `${address} ${port}\n`)
      return dial.call(this, request, address, port, ...more)
    }
  }
}

/** The environment that makes a process write its log to this file. The file must exist. */
export function dialLogEnv(file: string): Record<string, string> {
  return { NODE_OPTIONS: `--import=${import.meta.url}`, DIAL_LOG: file }
}

/** Returns `address port` of each dial so far, in order. */
export async function readDials(file: string): Promise<string[]> {
  return (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '')
}
