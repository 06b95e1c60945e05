// Starting the program: wrong settings are refused with a message, and the help lists all settings.
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { describeSettings } from '../../server/config.ts'
import { runServer } from '../support/run-server.ts'
import { startServer } from '../support/server.ts'
import { onSmallDisk } from '../support/small-disk.ts'
import { tempDirectory } from '../support/temp.ts'

describe('the program', () => {
  it.each<[string, Record<string, string>, RegExp]>([
    ['an unknown setting', { SHEAF_PROT: '1' }, /^no such setting: SHEAF_PROT \(--help lists them\)$/],
    ['a port that is none', { SHEAF_PORT: 'http' }, /^SHEAF_PORT: .+$/],
    ['a port out of range', { SHEAF_PORT: '65536' }, /^SHEAF_PORT: .+65535.*$/],
    ['a time of nothing', { SHEAF_ABANDON_MS: '0' }, /^SHEAF_ABANDON_MS: .+1.*$/],
    ['a time no timer takes', { SHEAF_ENTRY_TIMEOUT_MS: '2147483648' }, /^SHEAF_ENTRY_TIMEOUT_MS: .+2147483647.*$/],
    ['half an entry', { SHEAF_MAX_ENTRIES: '1.5' }, /^SHEAF_MAX_ENTRIES: .+$/],
    ['a flag of another kind', { SHEAF_PUBLIC: 'yes' }, /^SHEAF_PUBLIC: .*"true".*"false".*$/],
    ['a log level that is none', { SHEAF_LOG: 'loud' }, /^SHEAF_LOG: .*"debug".*$/],
    ['a denied address that is none', { SHEAF_DENY_ADDRESSES: 'example.org' }, /^SHEAF_DENY_ADDRESSES: .+$/],
    ['an address that is none', { SHEAF_ALLOW_ADDRESSES: '10.0.0.0/33' }, /^SHEAF_ALLOW_ADDRESSES: .+$/],
    ['ports that are none', { SHEAF_ALLOWED_PORTS: '80,x' }, /^SHEAF_ALLOWED_PORTS: .+$/],
    ['listening everywhere by accident', { SHEAF_HOST: '0.0.0.0' }, /^SHEAF_HOST=0\.0\.0\.0 .+SHEAF_PUBLIC=true.*$/],
    ['listening everywhere on IPv6', { SHEAF_HOST: '::' }, /^SHEAF_HOST=:: .+SHEAF_PUBLIC=true.*$/],
    [
      'samples for other machines',
      { SHEAF_HOST: '0.0.0.0', SHEAF_PUBLIC: 'true', SHEAF_SAMPLES_PORT: '8012' },
      /^SHEAF_SAMPLES_PORT: with SHEAF_HOST=0\.0\.0\.0 no samples are offered$/,
    ],
    ['an origin with a path', { SHEAF_ALLOWED_ORIGINS: 'https://app.test/' }, /^SHEAF_ALLOWED_ORIGINS: .+$/],
    ['a host with a port', { SHEAF_ALLOWED_HOSTS: 'app.test:80' }, /^SHEAF_ALLOWED_HOSTS: .+$/],
  ])('refuses %s with one line and exit code 2', async (_, env, line) => {
    await using temp = await tempDirectory()
    const { code, stdout, stderr } = await runServer({ SHEAF_DATA_DIR: temp.path, ...env })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^[^\n]+\n$/)
    expect(stderr.trimEnd()).toMatch(line)
  })

  it.each([
    ['to this machine', {}, 48],
    ['to nobody, if the setting says so', { SHEAF_SAMPLES_PORT: '-1' }, 0],
    ['to nobody, if other machines are served', { SHEAF_HOST: '0.0.0.0', SHEAF_PUBLIC: 'true' }, 0],
  ])('offers sample images with npm start %s', async (_, env: Record<string, string>, count) => {
    await using server = await startServer({ env: { SHEAF_SAMPLES_PORT: '', ...env } })
    const { port } = new URL(server.url)
    const response = await fetch(`http://127.0.0.1:${port}/trpc/serverInfo`)
    const { result } = (await response.json()) as { result: { data: { json: { samples: string[] } } } }
    expect(result.data.json.samples).toHaveLength(count)
  })

  it('names every wrong setting at once', async () => {
    const { code, stderr } = await runServer({ SHEAF_PORT: 'x', SHEAF_MAX_FETCHES: '0' })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^SHEAF_PORT: .+\nSHEAF_MAX_FETCHES: .+\n$/)
  })

  it('refuses an argument it does not know', async () => {
    expect(await runServer({}, ['--prot=1'])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'unknown argument: --prot=1 (see --help)\n',
    })
  })

  it('says in one line that its port is taken', async () => {
    await using temp = await tempDirectory()
    await using taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    const env = { SHEAF_DATA_DIR: temp.path, SHEAF_PORT: String(port), SHEAF_LOG: 'silent' }
    const { code, stdout, stderr } = await runServer(env)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^sheaf could not start: .*EADDRINUSE.*\n$/)
  })

  it.each([
    ['is a file', 'a-file', 'it is not a directory'],
    ['lies below a file', 'a-file/below', 'it lies below something that is not a directory'],
  ])('says in one line that its data directory %s', async (_, name, reason) => {
    await using temp = await tempDirectory()
    await writeFile(join(temp.path, 'a-file'), 'mine')
    const directory = resolve(temp.path, name)
    const { code, stdout, stderr } = await runServer({ SHEAF_DATA_DIR: directory, SHEAF_LOG: 'silent' })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^SHEAF_DATA_DIR: [^\n]+\n$/)
    expect(stderr).toContain(`${directory} cannot be used: `)
    expect(stderr).toMatch(reason)
    expect(await readFile(join(temp.path, 'a-file'), 'utf8')).toBe('mine')
  })

  it('says in one line that its data directory is read-only', async () => {
    const told = await onSmallDisk(`
      import { execFileSync } from 'node:child_process'
      import { runServer } from './test/support/run-server.ts'
      execFileSync('mount', ['-o', 'remount,ro', process.env.TMPDIR])
      tell(await runServer({ SHEAF_DATA_DIR: process.env.TMPDIR, SHEAF_LOG: 'silent' }))
    `)
    const stderr = expect.stringMatching(/^SHEAF_DATA_DIR: \S+ cannot be used: its file system is read-only\n$/)
    expect(told).toEqual([{ code: 1, stdout: '', stderr }])
  })

  it('lists every setting with its default in --help', async () => {
    const { code, stdout, stderr } = await runServer({}, ['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const settings = describeSettings()
    expect(settings.length).toBeGreaterThan(30)
    for (const { name, meaning } of settings) {
      expect(meaning).not.toBe('')
      expect(stdout).toMatch(new RegExp(`^ {2}${name} .+\\[[^\\]]+\\]$`, 'm'))
    }
    expect(stdout).toContain('port to listen on; 0 takes a free one [8011]')
  })
})
