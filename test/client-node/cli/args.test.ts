// What a command line means, and which command lines are refused.
import { describe, expect, it } from 'vitest'
import { DEFAULT_SERVER, type GetCommand, parseCommandLine, UsageError } from '../../../client-node/cli/args.ts'

const get = (...argv: string[]) => parseCommandLine(['get', ...argv]) as GetCommand
const URL_A = 'https://a.example/x.png'

describe('a command line', () => {
  it('asks for an archive of the URLs, with defaults for all else', () => {
    expect(get(URL_A)).toEqual({
      command: 'get',
      server: DEFAULT_SERVER,
      urls: [URL_A],
      lists: [],
      assumeHttps: false,
      output: null,
      name: undefined,
      format: 'zip',
      compression: 'store',
      report: false,
      checksum: undefined,
      onEntryFailure: 'skip',
      json: false,
      quiet: false,
    })
  })

  it('takes lists, names and switches, long and short', () => {
    const long = ['--input', 'a.txt', '--input', '-', '--output', 'o.zip', '--name', 'n', '--quiet', '--json']
    const short = ['-i', 'a.txt', '-i', '-', '-o', 'o.zip', '-n', 'n', '-q', '--json']
    expect(get(...long)).toEqual(get(...short))
    expect(get(...long)).toMatchObject({ lists: ['a.txt', '-'], output: 'o.zip', name: 'n', quiet: true, json: true })
    expect(get(URL_A, '--on-failure', 'abort').onEntryFailure).toBe('abort')
    expect(get('-i', 'a.txt', '--assume-https').assumeHttps).toBe(true)
    const asked = get(URL_A, '-c', 'auto', '--report', '--sha256')
    expect(asked).toMatchObject({ compression: 'auto', report: true, checksum: 'sha-256' })
    expect(get(URL_A, '--compress', 'store', '-f', 'tar').compression).toBe('store')
  })

  it.each([
    ['out.zip', 'zip'],
    ['OUT.ZIP', 'zip'],
    ['out.tar', 'tar'],
    ['out.tar.gz', 'tar.gz'],
    ['dir.tar/out.tgz', 'tar.gz'],
    ['out.bin', 'zip'],
    ['-', 'zip'],
  ])('makes of -o %s a %s', (output, format) => {
    expect(get(URL_A, '-o', output).format).toBe(format)
  })

  it('takes --format if the name of the output does not imply a format', () => {
    expect(get(URL_A, '-f', 'tar').format).toBe('tar')
    expect(get(URL_A, '-f', 'tar.gz', '-o', 'out.bin').format).toBe('tar.gz')
    expect(get(URL_A, '-f', 'tar.gz', '-o', 'out.tgz').format).toBe('tar.gz')
  })

  it.each([
    [['--server', 'http://10.0.0.1:9/sheaf/'], undefined, 'http://10.0.0.1:9/sheaf'],
    [['-s', 'https://one.example'], 'http://two.example', 'https://one.example'],
    [[], 'http://two.example:80/', 'http://two.example'],
    [[], '', DEFAULT_SERVER],
  ])('finds the server from %j and SHEAF_SERVER=%s', (argv, SHEAF_SERVER, server) => {
    expect(parseCommandLine(['info', ...argv], { SHEAF_SERVER })).toMatchObject({ server })
  })

  it('asks for a plan, with HEAD requests unless they are switched off', () => {
    expect(parseCommandLine(['plan', URL_A])).toEqual({
      command: 'plan',
      server: DEFAULT_SERVER,
      urls: [URL_A],
      lists: [],
      assumeHttps: false,
      name: undefined,
      format: 'zip',
      head: true,
      json: false,
    })
    const argv = [
      'plan',
      '-i',
      'a.txt',
      '-i',
      '-',
      '-n',
      'n',
      '-f',
      'tar.gz',
      '--no-head',
      '--json',
      '-s',
      'http://s:1',
    ]
    expect(parseCommandLine(argv)).toEqual({
      command: 'plan',
      server: 'http://s:1',
      urls: [],
      lists: ['a.txt', '-'],
      assumeHttps: false,
      name: 'n',
      format: 'tar.gz',
      head: false,
      json: true,
    })
  })

  it('reads the other commands', () => {
    expect(parseCommandLine(['echo', 'hello', 'world'])).toMatchObject({ command: 'echo', text: 'hello world' })
    expect(parseCommandLine(['info', '--json'])).toMatchObject({ command: 'info', json: true })
    expect(parseCommandLine(['stress', '--clients', '50', '--leave', '0.2', '--double'])).toEqual({
      command: 'stress',
      server: DEFAULT_SERVER,
      input: null,
      clients: 50,
      rounds: 3,
      urls: 20,
      double: true,
      leave: 0.2,
      seed: null,
    })
    expect(parseCommandLine(['--version'])).toEqual({ command: 'version' })
  })

  it.each([
    [['--help'], null],
    [['help'], null],
    [['help', 'get'], 'get'],
    [['get', '--help'], 'get'],
    [['get', URL_A, '-h'], 'get'],
    [['echo', '-h'], 'echo'],
    [['stress', '--help'], 'stress'],
    [['plan', URL_A, '--help'], 'plan'],
  ])('helps with %j', (argv, topic) => {
    expect(parseCommandLine(argv)).toEqual({ command: 'help', topic })
  })

  it.each([
    [[], 'a command is missing'],
    [['fetch'], 'no command "fetch"'],
    [[URL_A], `did you mean "sheaf get ${URL_A}"`],
    [['get'], 'no URL and no list'],
    [['get', URL_A, '--bogus'], "Unknown option '--bogus'"],
    [['get', URL_A, '-o'], 'argument missing'],
    [['get', URL_A, '-o', ''], '-o needs a file name'],
    [['get', '-i', '-', '-i', '-'], 'standard input is read only once'],
    [['get', URL_A, '-o', '-', '--json'], 'both want standard output'],
    [['get', URL_A, '--compress', 'brotli'], '--compress is store, deflate or auto'],
    [['get', URL_A, '--compress', 'auto', '-o', 'out.tar.gz'], '--compress is for a zip'],
    [['get', URL_A, '--format', 'rar'], '--format is zip, tar or tar.gz'],
    [['get', URL_A, '--format', 'tar', '-o', 'out.tar.gz'], 'contradicts'],
    [['get', URL_A, '--on-failure', 'explode'], '--on-failure is "skip" or "abort"'],
    [['get', URL_A, '--server', 'localhost:8011'], 'not an http or https URL'],
    [['get', URL_A, '--server', 'http://me:pw@host'], 'no credentials'],
    [['plan'], 'no URL and no list'],
    [['plan', '-i', '-', '-i', '-'], 'standard input is read only once'],
    [['plan', URL_A, '--format', 'rar'], '--format is zip, tar or tar.gz'],
    [['plan', URL_A, '-o', 'out.zip'], "Unknown option '-o'"],
    [['echo'], 'the text is missing'],
    [['info', 'now'], 'unexpected argument "now"'],
    [['stress', '--clients', '0'], '--clients is a whole number from 1'],
    [['stress', '--rounds', '1.5'], '--rounds is a whole number'],
    [['stress', '--leave', '1.1'], '--leave is a fraction'],
    [['stress', '--leave', 'x'], '--leave is a fraction'],
  ])('refuses %j', (argv, message) => {
    const parse = () => parseCommandLine(argv)
    expect(parse).toThrow(UsageError)
    expect(parse).toThrow(message)
  })
})
