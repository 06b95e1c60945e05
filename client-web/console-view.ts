// Shows the console of events: a log with its newest line in view, and its styles. Pure: lines in, template out.
import { css, html, type TemplateResult } from 'lit'
import { guard } from 'lit/directives/guard.js'
import { repeat } from 'lit/directives/repeat.js'
import type { ConsoleLine } from './console-lines.ts'

/** A log is a polite live region: only new lines are read out. It takes the focus, to be scrolled by keyboard. */
export function consoleView(lines: readonly ConsoleLine[]): TemplateResult {
  return html`
    <div class="console" role="log" aria-live="polite" aria-relevant="additions" aria-label="Events" tabindex="0">
      <div>
        ${lines.length === 0 ? html`<p class="muted">Events appear here.</p>` : null}
        ${guard([lines], () => repeat(lines, ({ key }) => key, lineView))}
      </div>
    </div>
  `
}

function lineView({ at, tone, text }: ConsoleLine): TemplateResult {
  return html`
    <p class=${tone}><time datetime=${at.toISOString()}>${at.toTimeString().slice(0, 8)}</time><span>${text}</span></p>
  `
}

export const consoleStyles = css`
  /* A reversed box scrolls from its end. So it follows new lines by itself, unless the reader has scrolled back. */
  .console {
    display: flex;
    flex-direction: column-reverse;
    height: 15rem;
    overflow-y: auto;
    overscroll-behavior: contain;
    padding: 0.6rem 0.75rem;
    border: 1px solid var(--line);
    border-radius: var(--radius);
    background: var(--well);
    font: 0.82rem / 1.5 ui-monospace, 'Cascadia Code', Menlo, Consolas, 'DejaVu Sans Mono', monospace;
  }
  .console > div {
    margin-bottom: auto;
  }
  .console p {
    display: flex;
    gap: 0.75rem;
  }
  .console time {
    color: var(--muted);
  }
  .console span {
    min-width: 0;
    overflow-wrap: anywhere;
  }
  .console .good span {
    color: var(--good);
  }
  .console .bad span {
    color: var(--bad);
  }
`
