// Peers that are commands: they fetch files and then pack them. Nothing can be downloaded before they have ended.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { measureCommands } from '../measure.ts'
import { versionOf } from '../programs.ts'
import type { Sample } from '../table.ts'
import { workloadNames } from '../workloads.ts'
import type { Peer, Presence, Seldom, Trial } from './peer.ts'

const CURL_AT_A_TIME = 16
const firstRound: Seldom = Object.fromEntries(workloadNames.map((name) => [name, 'first']))

interface Fetching extends Pick<Peer, 'name' | 'about' | 'seldom'> {
  readonly program: string
  readonly debianPackage: string
  /** Fetches the URLs in $LIST into the working directory. $CONFIG is the list for curl. $@ makes it trust the origin. */
  readonly script: string
  readonly trust: (caPath: string) => readonly string[]
}

const trustByCurl = (caPath: string) => ['--cacert', caPath]

export const curlZip = fetchAndZip({
  name: 'curl+zip',
  about: `curl --parallel, ${CURL_AT_A_TIME} at a time, then zip -0`,
  program: 'curl',
  debianPackage: 'curl',
  seldom: { W3: 'first', W5: 'first' },
  script: `curl -sfZ --parallel-max ${CURL_AT_A_TIME} "$@" -K "$CONFIG"`,
  trust: trustByCurl,
})

export const aria2Zip = fetchAndZip({
  name: 'aria2+zip',
  about: 'aria2c, 16 at a time, then zip -0',
  program: 'aria2c',
  debianPackage: 'aria2',
  seldom: { ...firstRound, W4: undefined },
  script: 'aria2c -q -j16 -x1 --no-conf --file-allocation=none --console-log-level=error "$@" -i "$LIST"',
  trust: (caPath) => [`--ca-certificate=${caPath}`],
})

export const wgetZip = fetchAndZip({
  name: 'wget+zip',
  about: 'a wget for each file, then zip -0',
  program: 'wget',
  debianPackage: 'wget',
  // A process for each of the 20,000 files of W2 takes minutes. W5 and W6 show nothing that W1 does not.
  seldom: { ...firstRound, W2: 'on-request', W5: 'on-request', W6: 'on-request' },
  script: 'while read -r url; do wget -q "$@" "$url" || exit; done < "$LIST"',
  trust: (caPath) => [`--ca-certificate=${caPath}`],
})

export const wgetListZip = fetchAndZip({
  name: 'wget-i+zip',
  about: 'one wget for the whole list, then zip -0',
  program: 'wget',
  debianPackage: 'wget',
  // For the two files of W3 it is no different from a wget for each.
  seldom: { ...firstRound, W3: 'on-request' },
  script: 'wget -q "$@" -i "$LIST"',
  trust: (caPath) => [`--ca-certificate=${caPath}`],
})

/** Fetches only. The difference to it is the cost of everything else that a peer does. */
export const curlFiles: Peer = {
  name: 'curl files',
  about: `floor: curl --parallel of the files alone, ${CURL_AT_A_TIME} at a time; keeps nothing, makes no archive`,
  seldom: {},
  probe: () => presenceOf([['curl', 'curl']]),
  async run({ workload, source, caPath, directory }) {
    const config = join(directory, 'curl.conf')
    const once = source.urls.map((url) => `url=${url}\noutput=/dev/null\n`).join('')
    await writeFile(config, once.repeat(workload.archives))
    const script = `curl -sfZ --parallel-max ${CURL_AT_A_TIME} "$@" -K "$CONFIG"`
    const parameters = caPath === null ? [] : trustByCurl(caPath)
    const sample = await measureCommands([{ directory, script, parameters, env: { CONFIG: config } }])
    return { ...sample, firstByteMs: [] }
  },
}

function fetchAndZip({ program, debianPackage, script, trust, ...face }: Fetching): Peer {
  return {
    ...face,
    probe: () =>
      presenceOf([
        [program, debianPackage],
        ['zip', 'zip'],
      ]),
    async run(trial: Trial): Promise<Sample> {
      const { workload, source, caPath, directory } = trial
      const config = join(directory, 'curl.conf')
      await writeFile(config, source.urls.map((url) => `url=${url}\nremote-name\n`).join(''))
      const archives = Array.from({ length: workload.archives }, (_, index) => ({
        files: join(directory, `files-${index}`),
        zip: join(directory, `${index}.zip`),
      }))
      for (const { files } of archives) await mkdir(files)
      const sample = await measureCommands(
        archives.map(({ files, zip }) => ({
          directory: files,
          script: `${script} && zip -0qr "$ZIP" .`,
          parameters: caPath === null ? [] : trust(caPath),
          env: { LIST: source.listPath, CONFIG: config, ZIP: zip },
        })),
      )
      for (const { zip } of archives) await trial.check(zip, null)
      return sample
    },
  }
}

async function presenceOf(programs: readonly [program: string, debianPackage: string][]): Promise<Presence> {
  const versions: string[] = []
  const missing: string[] = []
  for (const [program, debianPackage] of programs) {
    const version = await versionOf(program, [program === 'zip' ? '-v' : '--version'])
    if (version === null) missing.push(debianPackage)
    else versions.push(`${program} ${version}`)
  }
  return missing.length > 0 ? { missing: `apt-get install ${missing.join(' ')}` } : { version: versions.join(', ') }
}
