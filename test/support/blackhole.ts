// A port on loopback that neither accepts nor refuses a connection: its queue is full, so the kernel drops each SYN.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Blackhole extends AsyncDisposable {
  readonly port: number
}

const LISTEN = `require('node:net').createServer().listen({ host: '127.0.0.1', port: 0, backlog: 1 }, function () {
  require('node:fs').writeSync(1, String(this.address().port))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 120_000)
  process.exit()
})`

/** Starts a process that listens and then sleeps, so that it never accepts. Our own connections fill its queue. */
export async function startBlackhole(): Promise<Blackhole> {
  const listener = spawn(process.execPath, ['-e', LISTEN], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(listener, 'exit')
  const fillers: Socket[] = []
  async function dispose(): Promise<void> {
    for (const filler of fillers) filler.destroy()
    listener.kill('SIGKILL')
    await exited
  }
  try {
    const [told] = (await once(listener.stdout, 'data')) as [Buffer]
    const port = Number(told)
    for (let tries = 0; tries < 16; tries++) {
      const filler = connect(port, '127.0.0.1').on('error', () => {})
      fillers.push(filler)
      const connected = once(filler, 'connect').then(() => true)
      if (!(await Promise.race([connected, sleep(400).then(() => false)]))) {
        return { port, [Symbol.asyncDispose]: dispose }
      }
    }
    throw new Error('the queue of a sleeping process takes ever more connections')
  } catch (error) {
    await dispose()
    throw error
  }
}
