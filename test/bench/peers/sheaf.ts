// sheaf as it is shipped: the real server with its defaults, asked by the real client, and downloaded while the archive grows.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { connect, newArchiveKey } from '#contracts/client.ts'
import { startServer, type TestServer } from '../../support/server.ts'
import { type Counted, countDownload, saveDownload } from '../download.ts'
import { measureServer } from '../measure.ts'
import type { Environment } from '../programs.ts'
import type { Peer, Trial } from './peer.ts'

export interface Made extends Counted {
  readonly url: string
}

export const createSheaf = (env: Environment): Peer => ({
  name: 'sheaf',
  about: 'the server as shipped: websocket, journal, spool, deadlines, address checks; downloaded live',
  seldom: {},
  probe: async () => ({ version: process.versions.node }),
  async run(trial) {
    await using server = await startSheaf(trial, env)
    await warmUp(server, trial)
    const { sample, downloads } = await measureServer(server.pid, trial.workload.archives, (startedAt) =>
      makeArchive(server, trial.source.urls, startedAt),
    )
    // The server keeps what it sent, so the same archive is downloaded again for the check.
    for (const { url, bytes } of downloads) {
      const path = join(trial.directory, 'check.zip')
      await saveDownload(url, path)
      await trial.check(path, bytes)
      await rm(path)
    }
    return sample
  },
})

export function startSheaf({ directory, caPath }: Pick<Trial, 'directory' | 'caPath'>, env: Environment) {
  return startServer({
    dataDir: join(directory, 'data'),
    env: {
      SHEAF_LOG: 'warn',
      SHEAF_ALLOW_ADDRESSES: '127.0.0.1',
      ...(caPath === null ? {} : { NODE_EXTRA_CA_CERTS: caPath }),
      ...env,
    },
  })
}

/** Makes some archives first, because V8 interprets code before it compiles it. */
export async function warmUp(server: TestServer, { warmUp: { urls }, warmUps }: Trial): Promise<void> {
  for (let n = 0; n < warmUps; n++) await makeArchive(server, urls, performance.now())
}

/** Acts as one user: opens a connection and makes one archive, which it downloads from the first moment on. */
export async function makeArchive(server: TestServer, urls: readonly string[], startedAt: number): Promise<Made> {
  const connection = connect({ url: server.url, giveUpAfterMs: 5_000 })
  let download: Promise<Counted> | null = null
  let url = ''
  try {
    for await (const event of connection.createArchive({ archiveKey: newArchiveKey(), entries: [...urls] })) {
      switch (event.type) {
        case 'accepted':
          url = server.url + event.href
          download = countDownload(url, startedAt)
          // It is awaited after the last event.
          download.catch(() => {})
          break
        case 'file-failed':
          throw new Error(`sheaf could not fetch ${event.url}: ${event.code} ${server.log}`)
        case 'aborted':
          throw new Error(`sheaf aborted: ${event.code} ${server.log}`)
        case 'progress':
        case 'complete':
          break
        default:
          event satisfies never
      }
    }
    const counted = await download!
    return { ...counted, url, doneMs: performance.now() - startedAt }
  } finally {
    await connection.close()
  }
}
