// The page's one element: holds the draft and joins the views. The course of an archive is in archive-run.ts.
import { html, LitElement, nothing } from 'lit'
import { entryInputsOf, type ParsedList, parseList } from '#contracts/lists/list.ts'
import { type ArchiveRun, createArchiveRun, idleView, type Manifest, type RunView } from './archive-run.ts'
import { chooseSamples } from './choose-samples.ts'
import { consoleStyles, consoleView } from './console-view.ts'
import { startDownload } from './download.ts'
import { formView, problemOf } from './form-view.ts'
import { progressView } from './progress-view.ts'
import { downloadView, failuresView, lostView, noticeView } from './result-views.ts'
import { createSessionStore, type Draft, emptyDraft, type RememberedArchive, tabStorage } from './session.ts'
import { pageStyles } from './styles.ts'

export class SheafPage extends LitElement {
  static override styles = [pageStyles, consoleStyles]
  static override properties = { base: {}, _view: { state: true }, _draft: { state: true } }

  /** The server's URL with its path prefix. It is read when the element is connected. @default the document's folder */
  declare base: string
  declare private _view: RunView
  declare private _draft: Draft
  #list: ParsedList = parseList('')
  #run: ArchiveRun | null = null
  #remembered: RememberedArchive | null = null
  #newestView = idleView
  #frame: number | null = null

  constructor() {
    super()
    this.base = new URL('.', document.baseURI).href
    this._view = idleView
    this._draft = emptyDraft
  }

  override connectedCallback() {
    super.connectedCallback()
    // A field that is still focused has not fired "change" when the page goes.
    addEventListener('pagehide', this.#save)
    this.#open()
  }

  override disconnectedCallback() {
    super.disconnectedCallback()
    removeEventListener('pagehide', this.#save)
    this.#save()
    this.#run?.close()
    this.#run = null
  }

  #open() {
    const { draft, archive } = this.#store.read()
    this.#edit(draft)
    this.#show(idleView)
    this.#remembered = archive
    this.#run = createArchiveRun({
      base: this.#server,
      onChange: this.#show,
      remember: (remembered) => {
        this.#remembered = remembered
        this.#save()
      },
      download: startDownload,
    })
    if (archive !== null) this.#run.comeBack(archive, this.#manifest())
  }

  /** Shows at once, but at most once a frame: thousands of events may come together. A hidden page has no frames. */
  #show = (view: RunView) => {
    this.#newestView = view
    if (this.#frame !== null) return
    this._view = view
    this.#frame = requestAnimationFrame(() => {
      this.#frame = null
      if (this._view !== this.#newestView) this.#show(this.#newestView)
    })
  }

  get #server() {
    return this.base.replace(/\/+$/, '')
  }

  get #store() {
    return createSessionStore(tabStorage(), this.#server)
  }

  #save = () => {
    this.#store.write({ draft: this._draft, archive: this.#remembered })
  }

  #edit = (part: Partial<Draft>) => {
    this._draft = { ...this._draft, ...part }
    const { list, assumeHttps } = this._draft
    if (part.list !== undefined || part.assumeHttps !== undefined) this.#list = parseList(list, { assumeHttps })
  }

  #fill = () => {
    const samples = chooseSamples(this._view.info?.samples ?? [], this.#list.entries.length)
    this.#edit({ list: samples.map((url) => `${url}\n`).join('') })
    this.#save()
  }

  #create = () => {
    if (problemOf(this.#list.entries.length, this._view.info) === null) this.#run?.create(this.#manifest())
  }

  #cancel = () => {
    void this.#run?.cancel()
  }

  #manifest(): Manifest {
    const { format, compression, report } = this._draft
    const name = this._draft.name.trim()
    return {
      entries: entryInputsOf(this.#list.entries),
      format,
      report,
      ...(format === 'zip' && { compression }),
      ...(name !== '' && { name }),
    }
  }

  #urlOf = (index: number) => this.#list.entries[index]?.url

  protected override render() {
    const { archive, info, stage, notice, lost, lines } = this._view
    const isBusy = stage === 'running' || stage === 'cancelling'
    const complete = archive.terminal?.type === 'complete' ? archive.terminal : null
    return html`
      <div class="columns">
        ${formView({
          draft: this._draft,
          list: this.#list,
          info,
          stage,
          edit: this.#edit,
          settle: this.#save,
          fill: this.#fill,
          create: this.#create,
          cancel: this.#cancel,
        })}
        <div class="outcome">
          <section class="card" aria-labelledby="progress-title" aria-busy=${isBusy}>
            <h2 id="progress-title">Progress</h2>
            ${lost === null ? nothing : lostView(lost)} ${notice === null ? nothing : noticeView(notice)}
            ${
              stage === 'idle'
                ? html`<p class="muted">Nothing is being made. Give some URLs and press Create.</p>`
                : progressView(this._view, this.#urlOf)
            }
            ${complete === null ? nothing : downloadView(this.#server, archive.accepted?.name ?? '', complete)}
            ${
              isBusy
                ? html`<p class="muted hint">Keep this tab open until it is complete; a refresh does no harm.</p>`
                : nothing
            }
          </section>
          ${failuresView(archive.failures)}
          <section class="card" aria-labelledby="events-title">
            <h2 id="events-title">Events</h2>
            ${consoleView(lines)}
          </section>
        </div>
      </div>
    `
  }
}
