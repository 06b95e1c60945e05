// Runs in a network namespace: gives the real server every hostile target, and reports what became of each.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect, newArchiveKey } from '#contracts/client.ts'
import type { ArchiveEvent, FileFailedEvent } from '#contracts/events.ts'
import type { EntryFailureCode } from '#contracts/failures.ts'
import { dialLogEnv, readDials } from '../support/dial-log.ts'
import { answerNames, type Heard, listenEverywhere } from '../support/everywhere.ts'
import * as hostile from '../support/hostile-targets.ts'
import { inOwnNetwork } from '../support/own-network.ts'
import { startServer } from '../support/server.ts'
import { tempDirectory } from '../support/temp.ts'

export interface Played extends Heard {
  /** The failure of each target, in order. Null if it was sealed. */
  readonly failures: readonly (FileFailedEvent | null)[]
  readonly end: ArchiveEvent
  /** The code of each target when the same list is planned by HEAD afterwards. `dials` and `accepted` contain both runs. */
  readonly planned: readonly (EntryFailureCode | null)[]
  /** `address port` of every dial since the server was ready, as it was given to connect(2). */
  readonly dials: readonly string[]
  /** Dials before that, when the server checks its own sockets. */
  readonly dialsBefore: readonly string[]
}

export interface Plays {
  /** With default settings. */
  readonly guarded: Played
  /** With every address and port allowed: what the same list does without a guard. */
  readonly unguarded: Played
}

export async function playTargets(): Promise<Plays> {
  return (await inOwnNetwork(new URL(import.meta.url), { timeoutMs: 110_000 })) as Plays
}

async function play(everywhere: { heard: Heard }, allow: string): Promise<Played> {
  everywhere.heard = { accepted: [], requests: [] }
  await using _ = await answerNames(hostile.NAMES)
  await using directory = await tempDirectory()
  const dialLog = join(directory.path, 'dials')
  await writeFile(dialLog, '')
  const failures: (FileFailedEvent | null)[] = hostile.hostileTargets.map(() => null)
  let end: ArchiveEvent | null = null
  let dialsBefore: string[] = []
  let planned: Played['planned'] = []
  let requests: Heard['requests'] = []
  {
    await using server = await startServer({
      env: {
        ...dialLogEnv(dialLog),
        SHEAF_ALLOW_ADDRESSES: allow,
        SHEAF_MAX_ATTEMPTS: '2',
        SHEAF_CONNECT_TIMEOUT_MS: '2000',
        SHEAF_HEADERS_TIMEOUT_MS: '2000',
        SHEAF_IDLE_TIMEOUT_MS: '1000',
        // If the server used a proxy from the environment, the proxy would dial forbidden addresses for it.
        HTTP_PROXY: 'http://10.9.9.9:8080',
        HTTPS_PROXY: 'http://10.9.9.9:8080',
        NODE_USE_ENV_PROXY: '1',
      },
    })
    dialsBefore = await readDials(dialLog)
    const connection = connect({ url: server.url })
    // The names come from a stranger, too.
    const entries = hostile.hostileTargets.map(({ url }) => ({ url, name: 'a\r\nX-Injected: 1\r\n\r\n.bin' }))
    const archive = { archiveKey: newArchiveKey(), name: 'b\r\nX-Injected: 1', entries }
    try {
      for await (const event of connection.createArchive(archive)) {
        if (event.type === 'file-failed') failures[event.index] = event
        end = event
      }
      requests = [...everywhere.heard.requests]
      const plan = await connection.planArchive({ entries, head: true })
      planned = plan.entries.map(({ failure }) => failure?.code ?? null)
    } catch (error) {
      throw new Error(`no archive; the server's log:\n${server.log}`, { cause: error })
    } finally {
      await connection.close()
    }
  }
  const dials = (await readDials(dialLog)).slice(dialsBefore.length)
  return { ...everywhere.heard, requests, failures, planned, end: end!, dials, dialsBefore }
}

if (import.meta.main) {
  const ports = [80, 443, 8080, ...hostile.FORBIDDEN_PORTS.filter((port) => port !== 53)]
  await using everywhere = await listenEverywhere([...ports, 53], [[hostile.OPEN_INSIDE, hostile.INSIDE_PORT]])
  const guarded = await play(everywhere, '')
  const unguarded = await play(everywhere, '0.0.0.0/0,::/0')
  process.stdout.write(`${JSON.stringify({ guarded, unguarded } satisfies Plays)}\n`)
}
