// Loaded into a process under proof: writes down every address it dials, below net.Socket and TLS, and reads that back.
//
// Node's TCP handle is wrapped, the last JavaScript before connect(2): net, tls, happy eyeballs and undici all end there,
// and none can go around it. strace would see a little deeper, but needs ptrace, which containers may not permit, and
// shows the UDP sockets that getaddrinfo "connects" only to sort its answers, where nothing is ever sent.
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
      // At once: a process that is killed has told what it did.
      appendFileSync(file, `${address} ${port}\n`)
      return dial.call(this, request, address, port, ...more)
    }
  }
}

/** What has to be set in a process's environment so that it writes to this file, which must be there. */
export function dialLogEnv(file: string): Record<string, string> {
  return { NODE_OPTIONS: `--import=${import.meta.url}`, DIAL_LOG: file }
}

/** `address port` of each dial so far, in order. */
export async function readDials(file: string): Promise<string[]> {
  return (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '')
}
