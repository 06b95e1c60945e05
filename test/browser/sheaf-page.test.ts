// The page in a real browser against a real server: what a reader sees and can press, from the first URL to the download.
import { afterEach, beforeEach, describe, expect, inject, it, vi } from 'vitest'
import { page, userEvent } from 'vitest/browser'
import '../../client-web/main.ts'
import { createSessionStore, type Session, tabStorage } from '../../client-web/session.ts'
import type { SheafPage } from '../../client-web/sheaf-page.ts'
import { connect, newArchiveKey } from '../../contracts/client.ts'

const serverUrl = inject('serverUrl').replace(/\/$/, '')
const originUrl = inject('originUrl').replace(/\/$/, '')

const list = page.getByLabelText('URLs')
const samples = page.getByRole('button', { name: /samples/ })
const create = page.getByRole('button', { name: 'Create' })
const cancel = page.getByRole('button', { name: /^Cancel/ })
const bar = page.getByRole('progressbar')
const events = page.getByRole('log')
const link = page.getByRole('link', { name: /^Download/ })
const ignored = page.getByRole('list', { name: 'What was ignored' })

const connection = connect({ url: serverUrl })
const store = createSessionStore(tabStorage(), serverUrl)
/** URLs that are answered late. They come in several waves, because an origin gets a limited number of requests at once. */
const slow = (count: number) => urls(count, (index) => `${originUrl}/slow/${index}.png`)
/** URLs that are never answered. */
const hanging = (count: number) => urls(count, (index) => `${originUrl}/hang/${index}.png`)
const quick = (count: number) => urls(count, (index) => `${originUrl}/bytes/${1_000 + index}/seed-${index}.png`)

function urls(count: number, urlOf: (index: number) => string): string {
  return Array.from({ length: count }, (_, index) => `${urlOf(index)}\n`).join('')
}

/** Hrefs of the downloads that the page started by itself. The browser is kept from carrying them out. */
let downloads: string[] = []

beforeEach(() => {
  sessionStorage.clear()
  downloads = []
  vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (this: HTMLAnchorElement) {
    downloads.push(this.href)
  })
})

afterEach(async () => {
  unmount()
  vi.restoreAllMocks()
  // An archive that is still being made would keep the server busy during the next test.
  const { archive } = store.read()
  if (archive !== null) await connection.cancelArchive(archive.archiveKey).catch(() => {})
})

async function mount(base = serverUrl): Promise<SheafPage> {
  const element = document.createElement('sheaf-page') as SheafPage
  element.base = base
  document.body.append(element)
  await element.updateComplete
  return element
}

function unmount() {
  document.querySelector('sheaf-page')?.remove()
}

/** Imitates a refresh: the element starts again with the same tab storage. */
async function refresh() {
  unmount()
  await mount()
}

function change(part: (session: Session) => Session) {
  store.write(part(store.read()))
}

/** Fills the box at once, because typing a long list takes long. */
async function give(text: string) {
  const box = list.element() as HTMLTextAreaElement
  box.value = text
  box.dispatchEvent(new InputEvent('input', { bubbles: true, composed: true }))
  await expect.element(create).toBeEnabled()
}

function lines(): string[] {
  return (list.element() as HTMLTextAreaElement).value.split('\n').filter((line) => line !== '')
}

/** Collects all values that the bar shows from now on. */
function watchBar(element: SheafPage): number[] {
  const values: number[] = []
  const observer = new MutationObserver(() => {
    const shown = element.shadowRoot?.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow')
    if (shown != null && Number(shown) !== values.at(-1)) values.push(Number(shown))
  })
  observer.observe(element.shadowRoot!, { subtree: true, childList: true, attributes: true })
  return values
}

const text = (element: Element) => element.textContent.replace(/\s+/g, ' ')
const COMPLETE = { timeout: 20_000 }

describe('the samples', () => {
  it('fill the box with a different list at each press', async () => {
    await mount()
    await expect.element(samples).toBeEnabled()
    const lists = new Set<string>()
    let countBefore = 0
    for (let press = 0; press < 5; press++) {
      await userEvent.click(samples)
      await vi.waitFor(() => expect(lines().length).not.toBe(countBefore))
      const filled = lines()
      countBefore = filled.length
      lists.add(filled.join('\n'))
      for (const url of filled) expect(() => new URL(url)).not.toThrow()
      await expect.element(page.getByText(`${filled.length} URLs`)).toBeVisible()
    }
    expect(lists.size).toBe(5)
  })

  it('can be made into an archive', async () => {
    await mount()
    await expect.element(samples).toBeEnabled()
    await userEvent.click(samples)
    await userEvent.click(create)
    await expect.element(link, COMPLETE).toBeVisible()
    await expect.element(page.getByText(/\d failed/)).not.toBeInTheDocument()
  })
})

describe('an archive', () => {
  it('is made while the bar moves, and is downloaded once without a click', async () => {
    const element = await mount()
    const values = watchBar(element)
    await give(slow(100))
    await userEvent.fill(page.getByLabelText('Archive name'), 'holiday pictures')
    await userEvent.click(create)
    await expect.element(page.getByText('Complete', { exact: true }), COMPLETE).toBeVisible()

    expect(values.at(-1)).toBe(100)
    expect(values.length, `moved over ${values.join(', ')}`).toBeGreaterThan(2)
    expect(values).toEqual(values.toSorted((one, other) => one - other))
    await expect.element(bar).toHaveAttribute('aria-valuemax', '100')
    await expect.element(link).toMatchTextContent('Download holiday pictures.zip')

    expect(downloads).toEqual([(link.element() as HTMLAnchorElement).href])
    expect(downloads[0]).toMatch(new RegExp(`^${serverUrl}/archives/[\\w-]{22}\\.[\\w-]{11}/holiday%20pictures\\.zip$`))
    expect(text(events.element())).toMatch(/accepted: holiday pictures\.zip, 100 entries.*complete: 100 entries/)
  })

  it('is made in the format chosen, under the names given', async () => {
    await mount()
    await give(`${originUrl}/bytes/2000/one\tfolder/first.bin\n# a comment\n\n${originUrl}/bytes/3000/two\n`)
    await expect.element(page.getByRole('option', { name: 'tar.gz' })).toBeInTheDocument()
    await userEvent.selectOptions(page.getByLabelText('Format'), 'tar.gz')
    await userEvent.click(create)
    await expect.element(link, COMPLETE).toMatchTextContent('Download archive.tar.gz')
    expect(text(events.element())).toContain('complete: 2 entries')
  })

  it('is compressed and has a report if that is chosen, and the page remembers the choice', async () => {
    await mount()
    await give(`${originUrl}/bytes/2000/one\n`)
    await userEvent.selectOptions(page.getByLabelText('Compression'), 'where it helps')
    await userEvent.click(page.getByLabelText('Put a report of every URL into the archive'))
    await userEvent.click(create)
    await expect.element(link, COMPLETE).toBeVisible()
    const archive = new Uint8Array(await (await fetch((link.element() as HTMLAnchorElement).href)).arrayBuffer())
    expect(new TextDecoder('latin1').decode(archive)).toContain('sheaf-report.json')
    await refresh()
    await expect.element(page.getByLabelText('Compression')).toHaveValue('auto')
  })

  it('is made without the entries that failed, and the page says which failed and why', async () => {
    await mount()
    await give(`${quick(2)}${originUrl}/missing.png\tlost.png\nhttp://user:secret@127.0.0.1/\n`)
    await userEvent.click(create)
    await expect.element(link, COMPLETE).toBeVisible()
    await expect.element(page.getByRole('heading', { name: '2 entries failed' })).toBeVisible()
    const [missing, nonsense] = page.getByRole('region', { name: '2 entries failed' }).getByRole('listitem').elements()
    const told = [text(missing!), text(nonsense!)].toSorted()
    expect(told[0]).toContain(`#3 ${originUrl}/missing.png (lost.png)`)
    expect(told[0]).toMatch(/HTTP_STATUS .*\(HTTP 404\)/)
    expect(told[1]).toMatch(/#4 http:\/\/user:secret@127\.0\.0\.1\/ .*BAD_URL/)
    expect(text(events.element())).toContain('complete: 2 entries, 2 failed')
  })

  it('ends with a reason and advice when nothing could be fetched', async () => {
    await mount()
    await give(`${originUrl}/missing.png\n`)
    await userEvent.click(create)
    await expect.poll(() => text(page.getByRole('alert').element()), COMPLETE).toMatch(/No archive: .*correct the list/)
    await expect.element(create).toBeEnabled()
    expect(downloads).toEqual([])
  })

  it('can be cancelled', async () => {
    await mount()
    await give(hanging(3))
    await userEvent.click(create)
    await expect.element(page.getByText('Fetching', { exact: true })).toBeVisible()
    await userEvent.click(cancel)
    await expect.element(page.getByText('Cancelled', { exact: true })).toBeVisible()
    await expect.element(page.getByRole('status')).toMatchTextContent('The list is still here.')
    expect(downloads).toEqual([])
    expect(store.read().archive).toBeNull()
  })
})

describe('the controls', () => {
  it('are disabled while they make no sense', async () => {
    await mount()
    await expect.element(samples).toBeEnabled()
    await expect.element(create).toBeDisabled()
    await expect.element(cancel).toBeDisabled()

    await give(hanging(2))
    await expect.element(cancel).toBeDisabled()

    await userEvent.click(create)
    for (const control of [create, samples, page.getByLabelText('Archive name'), page.getByLabelText('Format')]) {
      await expect.element(control).toBeDisabled()
    }
    await expect.element(list).toHaveAttribute('readonly')
    await expect.element(cancel).toBeEnabled()

    await userEvent.click(cancel)
    await expect.element(cancel).toBeDisabled()
    for (const control of [create, samples, page.getByLabelText('Archive name')]) {
      await expect.element(control).toBeEnabled()
    }
    await expect.element(list).not.toHaveAttribute('readonly')
  })

  it('treat a list that contains only comments as empty', async () => {
    await mount()
    await userEvent.fill(list, '# one\n\n# two')
    await expect.element(page.getByText('0 URLs')).toBeVisible()
    await expect.element(create).toBeDisabled()
  })

  it('show what of the list is ignored, and why', async () => {
    await mount()
    await expect.element(ignored).not.toBeInTheDocument()
    await give(`${quick(2)}ftp://a.example/1\n\n"${originUrl}/bytes/10/x",\nwords <b>only</b>\n`)
    await expect.element(page.getByText('3 URLs')).toBeVisible()
    await expect.element(page.getByText('2 ignored')).toBeVisible()
    expect(ignored.getByRole('listitem').elements().map(text)).toEqual([
      expect.stringMatching(/line 3 ftp:\/\/a\.example\/1 only http and https are fetched, not ftp/),
      expect.stringMatching(/line 6 words .*not a URL/),
    ])
  })

  it('put https:// before addresses that lack it if asked to, and remember that', async () => {
    await mount()
    await give(`${quick(2)}files.example/a.zip\n`)
    const assume = page.getByLabelText('Put https:// before 1 address that lacks it')
    await expect.element(page.getByText('2 URLs')).toBeVisible()
    await expect.element(ignored.getByText('files.example/a.zip')).toBeVisible()
    await userEvent.click(assume)
    await expect.element(page.getByText('3 URLs')).toBeVisible()
    await expect.element(ignored).not.toBeInTheDocument()
    await refresh()
    await expect.element(assume).toBeChecked()
    await expect.element(page.getByText('3 URLs')).toBeVisible()
  })

  it('can all be reached and used by keyboard', async () => {
    await mount()
    await expect.element(samples).toBeEnabled()
    await userEvent.click(list)
    await userEvent.keyboard(`${originUrl}/bytes/1000/keys.png`)
    await expect.element(create).toBeEnabled()
    await userEvent.keyboard('{Control>}{Enter}{/Control}')
    await expect.element(link, COMPLETE).toBeVisible()
  })
})

describe('a refresh', () => {
  it('shows an archive that is still being made, and downloads it when it is complete', async () => {
    await mount()
    await give(slow(150))
    await userEvent.click(create)
    await vi.waitFor(() => expect(store.read().archive?.accepted).toBe(true), { timeout: 5_000 })

    await refresh()
    await expect.element(events).toMatchTextContent('back at the archive from before')
    await expect.element(create).toBeDisabled()
    expect(lines()).toHaveLength(150)
    await expect.element(link, COMPLETE).toBeVisible()
    await expect.element(bar).toHaveAttribute('aria-valuenow', '150')
    expect(downloads).toHaveLength(1)
  })

  it('shows a complete archive again without downloading it again', async () => {
    await mount()
    await give(`${quick(2)}${originUrl}/missing.png\n`)
    await userEvent.click(create)
    await expect.element(link, COMPLETE).toBeVisible()
    expect(downloads).toHaveLength(1)
    const { href } = link.element() as HTMLAnchorElement

    await refresh()
    await expect.element(link, COMPLETE).toHaveAttribute('href', href)
    await expect.element(page.getByRole('heading', { name: '1 entry failed' })).toBeVisible()
    await expect.element(create).toBeEnabled()
    expect(downloads).toHaveLength(1)
  })

  it('submits a list again if it had not reached the server', async () => {
    change((session) => ({
      draft: { ...session.draft, list: quick(3) },
      archive: { archiveKey: newArchiveKey(), accepted: false, downloadStarted: false },
    }))
    await mount()
    await expect.element(link, COMPLETE).toBeVisible()
    expect(downloads).toHaveLength(1)
  })

  it('keeps the draft', async () => {
    await mount()
    await give(quick(3))
    await userEvent.fill(page.getByLabelText('Archive name'), 'draft')
    await refresh()
    await expect.element(page.getByLabelText('Archive name')).toHaveValue('draft')
    expect(lines()).toHaveLength(3)
  })

  it('says politely that an archive is gone, and forgets it', async () => {
    change((session) => ({
      draft: { ...session.draft, list: quick(3) },
      archive: { archiveKey: newArchiveKey(), accepted: true, downloadStarted: false },
    }))
    await mount()
    await expect.element(page.getByRole('status')).toMatchTextContent('The archive is no longer on the server.')
    await expect.element(create).toBeEnabled()
    expect(lines()).toHaveLength(3)
    expect(store.read().archive).toBeNull()
  })
})

describe('a server that', () => {
  it('refuses is quoted, with advice what to do', async () => {
    await mount()
    await give(quick(1))
    await userEvent.click(create)
    await expect.element(link, COMPLETE).toBeVisible()
    unmount()
    change(({ draft, archive }) => ({
      draft: { ...draft, list: quick(2) },
      archive: archive && { ...archive, accepted: false },
    }))
    await mount()
    await expect
      .poll(() => text(page.getByRole('alert').element()))
      .toMatch(/Refused: this key already stands for another manifest\s+Press Create again/)
    await expect.element(create).toBeEnabled()
  })

  it('cannot be reached is waited for, and the wait can be cancelled', async () => {
    await mount('http://127.0.0.1:9')
    await expect.element(page.getByRole('alert')).toMatchTextContent('Waiting for the server')
    await expect.element(samples).toBeDisabled()
    await give(quick(1))
    await userEvent.click(create)
    await expect.element(create).toBeDisabled()
    await userEvent.click(cancel)
    await expect.element(create).toBeEnabled()
  })
})
