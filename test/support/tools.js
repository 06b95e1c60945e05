// Runs before the tests, in plain JavaScript: installs the programs that they need, or prints the command that does.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Each program that the tests call, and the Debian package that contains it. */
const tools = {
  chromium: 'chromium',
  nginx: 'nginx',
  unzip: 'unzip',
  '7z': 'p7zip-full',
  bsdtar: 'libarchive-tools',
  // The tests run a Java program from its source, which takes the compiler and not only the runtime.
  javac: 'openjdk-17-jdk-headless',
  python3: 'python3',
  openssl: 'openssl',
  curl: 'curl',
  tar: 'tar',
  prlimit: 'util-linux',
  unshare: 'util-linux',
  ip: 'iproute2',
  'mkfs.ext4': 'e2fsprogs',
  'mkfs.xfs': 'xfsprogs',
  mount: 'mount',
}

const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
const isThere = (tool) =>
  (tool === 'chromium' && process.env.CHROMIUM_PATH !== undefined && existsSync(process.env.CHROMIUM_PATH)) ||
  folders.some((folder) => existsSync(`${folder}/${tool}`))
const missing = () => Object.keys(tools).filter((tool) => !isThere(tool))
const packagesOf = (names) => [...new Set(names.map((tool) => tools[tool]))]

const absent = missing()
if (absent.length > 0 && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
  console.log(`installing what the tests need: ${packagesOf(absent).join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  try {
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'inherit', env })
    const options = ['install', '-y', '-qq', '--no-install-recommends']
    execFileSync('apt-get', [...options, ...packagesOf(absent)], { stdio: ['ignore', 'ignore', 'inherit'], env })
  } catch {
    // The check below names what is still missing.
  }
}
const still = missing()
if (still.length > 0) {
  console.error(`the tests need ${still.join(', ')}: sudo apt-get install ${packagesOf(still).join(' ')}`)
  process.exit(1)
}
