// Asks Chromium what it calls downloads, and a server what it calls the same files as entries: the tables hold the answers.
import { type Browser, chromium, type Page } from 'playwright'
import { expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { browserExtensions } from '../../server/fetch/extensions.ts'
import { call } from '../contract/callers.ts'
import { bytes } from '../support/behaviours.ts'
import { nameCases } from '../support/chromium-names.ts'
import type { Origin } from '../support/origin.ts'
import { completed, eachTestItsWorld, watch } from './world.ts'

const world = eachTestItsWorld()
const PAGE = '/page'
/** A page may start ten downloads that nobody clicked for. */
const DOWNLOADS_A_PAGE = 8
const TIMEOUT_MS = 120_000

interface Served {
  readonly path: string
  readonly type: string
  readonly disposition: string
}

/** One URL each. Chromium shall not look at the bytes, only at what is said of them. */
function serve(origin: Origin, cases: readonly Served[]): string[] {
  return cases.map(({ path, type, disposition }, n) => {
    const headers = {
      'content-type': type,
      'content-disposition': disposition,
      'x-content-type-options': 'nosniff',
    }
    return origin.serve(`/${n}/*`, bytes(Buffer.from('body'), headers)).replace('*', path)
  })
}

async function startChromium(): Promise<Browser & AsyncDisposable> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
    // Bytes in no known charset are read by that of the locale.
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  })
}

async function download(page: Page, url: string): Promise<string> {
  const started = page.waitForEvent('download')
  await page.evaluate(`(() => {
    const link = Object.assign(document.createElement('a'), { href: ${JSON.stringify(url)}, download: '' })
    document.body.append(link)
    link.click()
  })()`)
  const file = await started
  await file.cancel()
  return file.suggestedFilename()
}

async function namesInChromium(origin: Origin, cases: readonly Served[]): Promise<string[]> {
  const page = origin.serve(PAGE, bytes(Buffer.from('<!doctype html>'), { 'content-type': 'text/html' }))
  const urls = serve(origin, cases)
  await using browser = await startChromium()
  const tab = await browser.newPage()
  const names: string[] = []
  for (const [n, url] of urls.entries()) {
    if (n % DOWNLOADS_A_PAGE === 0) await tab.goto(page)
    names.push(await download(tab, url))
  }
  return names
}

const named = (cases: readonly Served[], names: readonly string[]) =>
  cases.map(({ path, type, disposition }, n) => ({ path, type, disposition, name: names[n] }))

it(
  'Chromium calls downloads what the table says',
  async () => {
    const names = await namesInChromium(world.origin, nameCases)
    const told = nameCases.map(({ chromium }) => chromium)
    expect(named(nameCases, names)).toEqual(named(nameCases, told))
  },
  TIMEOUT_MS,
)

it(
  'Chromium gives and keeps the extensions of our table',
  async () => {
    const cases = Object.entries(browserExtensions).flatMap(([type, extensions]) => {
      const [given, ...kept] = extensions.split(' ')
      return [
        { path: 'a.none?x', type, disposition: 'attachment', name: `a.${given}` },
        ...kept.map((each) => ({ path: `a.${each}?x`, type, disposition: 'attachment', name: `a.${each}` })),
      ]
    })
    expect(named(cases, await namesInChromium(world.origin, cases))).toEqual(cases)
  },
  TIMEOUT_MS,
)

it('a server calls the same files, fetched by HTTP, what the table says', async () => {
  const server = await world.start()
  const archiveKey = newArchiveKey()
  const entries = serve(world.origin, nameCases)
  const complete = await completed(watch(world.client(server.url).createArchive({ archiveKey, entries })).end)
  expect(complete).toMatchObject({ failedEntries: 0, sealedEntries: entries.length })
  await using caller = call('http', server.url)
  const listed = (await caller.trpc.listEntries.query({ archiveKey, limit: 1000 })).entries
  // In one archive equal names are numbered, and so are entries without one.
  const plain = (name: string) =>
    name.replace(/ \(\d+\)(?=$|\.tar\.gz$|\.[^.]*$)/, '').replace(/^file-\d{4}/, 'file-0001')
  const names = listed.map(({ name }) => plain(name!))
  const told = nameCases.map(({ ours }) => ours)
  expect(named(nameCases, names)).toEqual(named(nameCases, told))
})
