// Peers that are servers: each run starts one, warms it, asks it over HTTP, and ends it. The programs lie beside this file.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { WrongArchive } from '../check.ts'
import { type Counted, countDownload, saveDownload } from '../download.ts'
import { measureServer } from '../measure.ts'
import { type Environment, startProgram, versionOf } from '../programs.ts'
import { payloadBytes, type WorkloadName } from '../workloads.ts'
import type { Peer, Presence, Source, Trial } from './peer.ts'

const beside = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const TELL_VERSION = "import importlib.metadata as m, zipstream; zipstream.ZipStream; print(m.version('zipstream-ng'))"
/** Debian's own Python comes first, because it is the one that has Debian's packages. */
const pythons = ['/usr/bin/python3', 'python3']

interface Served extends Pick<Peer, 'name' | 'about' | 'seldom' | 'probe'> {
  command(): Promise<string[]>
  /** Path and query of the request. */
  pathOf(source: Source): string
  readonly makesZip: boolean
}

const zipOf = ({ listPath }: Source) => `/?list=${encodeURIComponent(listPath)}`
const nodeVersion = async (): Promise<Presence> => ({ version: process.versions.node })

export const naive = served({
  name: 'naive',
  about: 'Node: one fetch after the other into archiver, as one would write it first',
  seldom: { W2: 'first', W3: 'first', W4: 'first', W6: 'first' },
  probe: nodeVersion,
  command: async () => [process.execPath, beside('naive-program.ts')],
  pathOf: zipOf,
  makesZip: true,
})

export const passThrough = served({
  name: 'pass-through',
  about: 'floor: http.get(...).pipe(response) in Node, of one file of the same size; makes no archive',
  // W2 and W4 are about many files, and this peer serves one.
  seldom: { W2: 'never', W4: 'never' },
  probe: nodeVersion,
  command: async () => [process.execPath, beside('pass-through-program.ts')],
  pathOf: ({ allInOneUrl }) => `/?url=${encodeURIComponent(allInOneUrl)}`,
  makesZip: false,
})

export const zipstream = served({
  name: 'zipstream',
  about: 'Python: urllib into zipstream-ng, a process for each core, a thread for each archive',
  seldom: { W2: 'first', W4: 'first', W6: 'first' },
  async probe() {
    const found = await findPython()
    return found === null ? { missing: 'apt-get install python3-zipstream-ng' } : { version: found.version }
  },
  command: async () => [(await findPython())!.path, beside('zipstream_program.py')],
  pathOf: zipOf,
  makesZip: true,
})

async function findPython(): Promise<{ path: string; version: string } | null> {
  for (const path of pythons) {
    const version = await versionOf(path, ['-c', TELL_VERSION])
    if (version !== null) return { path, version }
  }
  return null
}

function served({ command, pathOf, makesZip, ...face }: Served): Peer {
  /** Sizes of archives that were checked. A measured archive is not kept, but it must have the same size. */
  const checkedBytes = new Map<WorkloadName, number>()

  async function verify(downloads: readonly Counted[], promptUrl: string, trial: Trial) {
    const { workload } = trial
    let wanted = makesZip ? checkedBytes.get(workload.name) : payloadBytes(workload) / workload.archives
    if (wanted === undefined) {
      const path = join(trial.directory, 'check.zip')
      wanted = downloads[0]!.bytes
      await saveDownload(promptUrl, path)
      await trial.check(path, wanted)
      await rm(path)
      checkedBytes.set(workload.name, wanted)
    }
    const odd = downloads.find(({ bytes }) => bytes !== wanted)
    if (odd !== undefined) throw new WrongArchive(`${odd.bytes} bytes were served instead of ${wanted}`)
  }

  return {
    ...face,
    async run(trial) {
      const { caPath } = trial
      const trust: Environment = caPath === null ? {} : { NODE_EXTRA_CA_CERTS: caPath, SSL_CERT_FILE: caPath }
      await using server = await startProgram(await command(), trust)
      const urlOf = (source: Source) => `http://127.0.0.1:${server.port}${pathOf(source)}`
      for (let n = 0; n < trial.warmUps; n++) await countDownload(urlOf(trial.warmUp), performance.now())
      const url = urlOf(trial.source)
      const { sample, downloads } = await measureServer(server.pid, trial.workload.archives, (startedAt) =>
        countDownload(url, startedAt),
      )
      await verify(downloads, urlOf(trial.prompt), trial)
      return sample
    },
  }
}
