// Shows the form: list, samples, name, format, create, cancel. Pure: state in, template and calls out.
import { html, nothing, type TemplateResult } from 'lit'
import { live } from 'lit/directives/live.js'
import type { ServerInfo } from '#contracts/api.ts'
import type { ArchiveFormat, Compression } from '#contracts/archive.ts'
import type { ParsedList } from '#contracts/lists/list.ts'
import type { RunView } from './archive-run.ts'
import { countView, ignoredView } from './list-view.ts'
import type { Draft } from './session.ts'

export interface FormView {
  readonly draft: Draft
  /** The draft's list, read. */
  readonly list: ParsedList
  readonly info: ServerInfo | null
  readonly stage: RunView['stage']
  /** The draft changed. */
  edit(part: Partial<Draft>): void
  /** A field was left, which is a good moment to remember the draft. */
  settle(): void
  fill(): void
  create(): void
  cancel(): void
}

const compressions: readonly [Compression, string][] = [
  ['store', 'none'],
  ['auto', 'where it helps'],
  ['deflate', 'all files'],
]

const PLACEHOLDER = 'https://example.org/one.png\nhttps://example.org/2.png\tfolder/two.png'

/** Why the draft cannot be made; null if it can. The server may still refuse it. */
export function problemOf(entryCount: number, info: ServerInfo | null): string | null {
  if (entryCount === 0) return 'none yet'
  const max = info?.limits.maxEntries ?? Infinity
  return entryCount > max ? `this server takes ${max.toLocaleString('en')} at most` : null
}

export function formView({ draft, list, info, stage, ...on }: FormView): TemplateResult {
  const isBusy = stage === 'running' || stage === 'cancelling'
  const problem = problemOf(list.entries.length, info)
  const submit = (event: Event) => {
    event.preventDefault()
    on.create()
  }
  return html`
    <form class="card" aria-label="New archive" @submit=${submit}>
      <label for="list">URLs</label>
      <textarea
        id="list"
        rows="14"
        wrap="off"
        spellcheck="false"
        autocapitalize="off"
        autocomplete="off"
        aria-describedby="list-hint list-count"
        placeholder=${PLACEHOLDER}
        ?readonly=${isBusy}
        .value=${live(draft.list)}
        @input=${(event: InputEvent) => on.edit({ list: (event.target as HTMLTextAreaElement).value })}
        @change=${on.settle}
        @keydown=${(event: KeyboardEvent) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit(event)
        }}
      ></textarea>
      <p class="muted hint row">
        <span id="list-hint">Lines, CSV, JSON, HTML or Markdown; a tab before a name.</span>
        ${countView(list, problem)}
      </p>
      ${ignoredView({
        list,
        assumeHttps: draft.assumeHttps,
        isBusy,
        assume: (assumeHttps) => {
          on.edit({ assumeHttps })
          on.settle()
        },
      })}
      <div class="row">
        <button
          id="samples"
          type="button"
          ?disabled=${isBusy || !info?.samples.length}
          aria-describedby="samples-hint"
          @click=${on.fill}
        >
          Fill with random samples
        </button>
        <span id="samples-hint" class="muted hint">${samplesHint(info)}</span>
      </div>
      <div class="fields">
        <div>
          <label for="name">Archive name</label>
          <input
            id="name"
            autocomplete="off"
            maxlength="200"
            placeholder="archive"
            ?disabled=${isBusy}
            .value=${live(draft.name)}
            @input=${(event: InputEvent) => on.edit({ name: (event.target as HTMLInputElement).value })}
            @change=${on.settle}
          />
        </div>
        <div>
          <label for="format">Format</label>
          <select
            id="format"
            ?disabled=${isBusy}
            @change=${(event: Event) => {
              on.edit({ format: (event.target as HTMLSelectElement).value as ArchiveFormat })
              on.settle()
            }}
          >
            ${(info?.formats ?? [draft.format]).map(
              (format) => html`<option value=${format} ?selected=${format === draft.format}>${format}</option>`,
            )}
          </select>
        </div>
        <div>
          <label for="compression">Compression</label>
          <select
            id="compression"
            ?disabled=${isBusy || draft.format !== 'zip'}
            title=${draft.format === 'zip' ? nothing : `a ${draft.format} does not compress its files one by one`}
            @change=${(event: Event) => {
              on.edit({ compression: (event.target as HTMLSelectElement).value as Compression })
              on.settle()
            }}
          >
            ${compressions.map(
              ([value, text]) => html`<option value=${value} ?selected=${value === draft.compression}>${text}</option>`,
            )}
          </select>
        </div>
      </div>
      <label class="check">
        <input
          id="report"
          type="checkbox"
          ?disabled=${isBusy}
          .checked=${live(draft.report)}
          @change=${(event: Event) => {
            on.edit({ report: (event.target as HTMLInputElement).checked })
            on.settle()
          }}
        />
        Put a report of every URL into the archive
      </label>
      <div class="row actions">
        <button id="create" class="primary" ?disabled=${isBusy || problem !== null}>Create</button>
        <button id="cancel" type="button" ?disabled=${stage !== 'running'} @click=${on.cancel}>
          ${stage === 'cancelling' ? 'Cancelling …' : 'Cancel'}
        </button>
      </div>
    </form>
  `
}

function samplesHint(info: ServerInfo | null): string {
  if (info === null) return 'Asking the server for samples …'
  return info.samples.length === 0 ? 'This server offers no samples.' : ''
}
