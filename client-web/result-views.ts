// Shows the outcome: notices, the link to the archive, the entries that failed. Pure: state in, template out.
import { html, nothing, type TemplateResult } from 'lit'
import type { CompleteEvent, FileFailedEvent } from '#contracts/events.ts'
import { formatBytes } from '#contracts/sizes.ts'
import { count } from './format.ts'
import type { Notice } from './notices.ts'

/** Nobody reads more rows than this. Further failures are only counted. */
const MAX_FAILURES_SHOWN = 200

export function noticeView({ tone, title, advice }: Notice): TemplateResult {
  return html`
    <div class="notice ${tone}" role=${tone === 'bad' ? 'alert' : 'status'}>
      <strong>${title}</strong>
      <span>${advice}</span>
    </div>
  `
}

export function lostView(reason: string): TemplateResult {
  return html`
    <div class="notice bad lost" role="alert">
      <strong>Waiting for the server: ${reason}.</strong>
      <span>The page tries again by itself. Nothing is lost.</span>
    </div>
  `
}

export function downloadView(base: string, name: string, complete: CompleteEvent): TemplateResult {
  const expiresAt = new Date(complete.expiresAt)
  const expired = expiresAt.getTime() < Date.now()
  return html`
    <div class="download">
      <a class="button primary" href=${base + complete.href} download=${name}>Download ${name}</a>
      <span class="muted">
        ${formatBytes(complete.sizeBytes)}, ${expired ? 'was' : ''} kept until
        <time datetime=${complete.expiresAt}>${expiresAt.toLocaleString()}</time>
      </span>
    </div>
  `
}

export function failuresView(failures: readonly FileFailedEvent[]): TemplateResult | typeof nothing {
  if (failures.length === 0) return nothing
  const shown = failures.slice(0, MAX_FAILURES_SHOWN)
  const more = failures.length - shown.length
  return html`
    <section class="card failures" aria-labelledby="failures-title">
      <h2 id="failures-title">${count(failures.length, 'entry', 'entries')} failed</h2>
      <ul tabindex="0" aria-labelledby="failures-title">
        ${shown.map(failureView)}
      </ul>
      ${more > 0 ? html`<p class="muted">and ${count(more, 'other', 'others')}</p>` : nothing}
    </section>
  `
}

function failureView({ index, url, name, code, message, retryable, attempts, httpStatus }: FileFailedEvent) {
  return html`
    <li>
      <span class="url">#${index + 1}&nbsp;${url}${name === null ? nothing : html` <span class="muted">(${name})</span>`}</span>
      <span class="reason">
        <code>${code}</code>
        ${message}${httpStatus === null ? '' : ` (HTTP ${httpStatus})`}${
          attempts > 1 ? `, after ${attempts} attempts` : ''
        }${retryable ? '; may work later' : ''}
      </span>
    </li>
  `
}
