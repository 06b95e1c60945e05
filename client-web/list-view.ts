// What is said below the box of URLs: how many there are, and what was ignored and why. Pure: state in, template out.
import { html, nothing, type TemplateResult } from 'lit'
import { live } from 'lit/directives/live.js'
import type { ParsedList } from '#contracts/lists/list.ts'
import { count } from './format.ts'

/** More rows than a person reads; the others are counted. */
const MAX_SHOWN = 200

/** An empty list is a beginning, not a mistake, so it is not shown as a problem. */
export function countView({ entries, duplicateCount }: ParsedList, problem: string | null): TemplateResult {
  const shown = entries.length > 0 ? problem : null
  const again = duplicateCount > 0 ? `, ${duplicateCount.toLocaleString('en')} repeated` : ''
  return html`
    <span id="list-count" class=${shown === null ? nothing : 'problem'}>
      ${count(entries.length, 'URL', 'URLs')}${again}${shown === null ? nothing : `: ${shown}`}
    </span>
  `
}

export interface IgnoredView {
  readonly list: ParsedList
  readonly assumeHttps: boolean
  readonly isBusy: boolean
  /** Hosts without a scheme shall be taken as https, or no longer. */
  assume(https: boolean): void
}

export function ignoredView({ list, assumeHttps, isBusy, assume }: IgnoredView): TemplateResult {
  const { ignored, ignoredCount, bareHosts, bareHostCount } = list
  const offered = assumeHttps ? [] : bareHosts.map((host) => ({ ...host, reason: 'no https:// before it' }))
  const found = [...ignored, ...offered].sort((one, other) => one.line - other.line)
  const total = ignoredCount + (assumeHttps ? 0 : bareHostCount)
  return html`
    ${
      total === 0
        ? nothing
        : html`
          <details id="ignored" class="ignored" open>
            <summary>${total.toLocaleString('en')} ignored</summary>
            <ul tabindex="0" aria-label="What was ignored">
              ${found.slice(0, MAX_SHOWN).map(
                ({ line, text, reason }) => html`
                  <li>
                    <span class="muted">line ${line}</span>
                    <span class="url">${text}</span>
                    <span class="reason">${reason}</span>
                  </li>
                `,
              )}
            </ul>
            ${total > MAX_SHOWN ? html`<p class="muted">and ${count(total - MAX_SHOWN, 'other', 'others')}</p>` : nothing}
          </details>
        `
    }
    ${
      bareHostCount === 0
        ? nothing
        : html`
          <label class="check">
            <input
              id="assume-https"
              type="checkbox"
              ?disabled=${isBusy}
              .checked=${live(assumeHttps)}
              @change=${(event: Event) => assume((event.target as HTMLInputElement).checked)}
            />
            Put https:// before ${count(bareHostCount, 'address', 'addresses')} that ${bareHostCount === 1 ? 'lacks' : 'lack'} it
          </label>
        `
    }
  `
}
