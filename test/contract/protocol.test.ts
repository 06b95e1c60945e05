// PROTOCOL.md is true: its tables equal the code's, and its examples are run.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { newArchiveKey } from '#contracts/client.ts'
import { abortReasons, entryFailures, refusals } from '#contracts/failures.ts'
import { eventSchema } from '../support/event-schemas.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { tempDirectory } from '../support/temp.ts'
import { readZip } from '../support/unpack.ts'
import { until } from '../support/wait.ts'

const page = await readFile(new URL('../../contracts/PROTOCOL.md', import.meta.url), 'utf8')
let server: TestServer
let samplesPort: string

beforeAll(async () => {
  server = await startServer({ env: { SHEAF_SAMPLES_PORT: '0' } })
  const info = await fetch(`${server.url}/trpc/serverInfo`)
  const { result } = (await info.json()) as { result: { data: { json: { samples: string[] } } } }
  samplesPort = new URL(result.data.json.samples[0]!).port
})
afterAll(() => server?.[Symbol.asyncDispose]())

function block(language: string): string {
  const found = [...page.matchAll(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``, 'g'))].map(([, text]) => text!)
  if (found.length !== 1) throw new Error(`${found.length} blocks of ${language}`)
  return found[0]!
}

/** Returns the rows of the table whose first column has this title. */
function table(title: string): string[][] {
  const [, rows] = new RegExp(`^\\| ${title} +\\|.*\n\\|[-| ]+\n((?:\\|.*\n)+)`, 'm').exec(page) ?? []
  const cells = (row: string) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', ''))
  return (rows ?? '').trimEnd().split('\n').map(cells)
}

const yesNo = (value: boolean) => (value ? 'yes' : 'no')

describe('the tables', () => {
  it('contain every refusal', () => {
    expect(table('refusal')).toEqual(
      Object.entries(refusals).map(([code, { httpStatus, retryable, publicMessage }]) => [
        code,
        String(httpStatus),
        yesNo(retryable),
        publicMessage,
      ]),
    )
  })

  it.each([
    ['failure', entryFailures],
    ['abort', abortReasons],
  ])('contain every %s', (title, codes) => {
    expect(table(title)).toEqual(
      Object.entries(codes).map(([code, { retryable, publicMessage }]) => [code, yesNo(retryable), publicMessage]),
    )
  })

  it('contain every field of every event', () => {
    const fields = eventSchema.options.map(({ shape: { type, ...others } }) => [type.value, Object.keys(others)])
    const listed = table('event').map(([type, , text]) => {
      const names = text!.replaceAll(/\([^)]*\)/g, '').replaceAll('[]', '')
      return [type, names.split(/\s+/).filter((name) => name !== '')]
    })
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(fields))
  })
})

describe('the examples', () => {
  it('work over the websocket, frame by frame', async () => {
    const key = newArchiveKey()
    const asRun = (line: string) =>
      line.replaceAll('kR3pZ0m8vQ1sT5xW9yB2dF4h', key).replaceAll(':8012', `:${samplesPort}`)
    const lines = block('frames').trimEnd().split('\n').map(asRun)
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}/trpc?connectionParams=1`)
    const received: string[] = []
    socket.on('message', (message) => received.push(String(message)))
    await new Promise((resolve) => socket.on('open', resolve))
    let expected = 0
    for (const line of lines) {
      const [mark, frame] = [line[0], line.slice(2)]
      if (mark === '>') {
        socket.send(frame)
        continue
      }
      if (isProgress(frame)) {
        eventSchema.parse(JSON.parse(frame).result.data.json.data)
        continue
      }
      expected++
      const told = await until(() => received.filter((text) => !isProgress(text))[expected - 1], { what: frame })
      expect(settled(told)).toEqual(settled(frame))
    }
    expect(expected).toBeGreaterThan(8)
    expect(received.filter((text) => !isProgress(text))).toHaveLength(expected)
    socket.terminate()
  })

  it('work with curl as they are written', async () => {
    await using temp = await tempDirectory()
    const script = block('sh').replaceAll(':8012', `:${samplesPort}`)
    // The environment may configure a proxy for curl.
    const env = { ...process.env, SHEAF: server.url, NO_PROXY: '*', no_proxy: '*' }
    const { stdout } = await promisify(execFile)('bash', ['-euc', script], { cwd: temp.path, env })
    expect(stdout).toContain('"name":"second/field.png"')
    expect(stdout).toMatch(/data: \{"json":\{"type":"complete".*\nid: \d+\n/)
    const members = await readZip(join(temp.path, 'fields.zip'))
    expect(members.map(({ name }) => name)).toEqual(['sample-01.png', 'second/field.png'])
  })
})

const isProgress = (frame: string) => frame.includes('"type":"progress"')

/** Removes what differs from run to run. */
function settled(frame: string): unknown {
  const text = frame
    .replaceAll(/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replaceAll(/"durationMs":\d+/g, '"durationMs":0')
    .replaceAll(/(archives\/|archiveId":"|etag":"\\")[A-Za-z0-9_-]{22}(\.[A-Za-z0-9_-]{11})?/g, '$1<id>')
    .replaceAll(/127\.0\.0\.1:\d+/g, '<samples>')
  return JSON.parse(text)
}
