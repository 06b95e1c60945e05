// The element's styles, light and dark. No fonts, images or sheets from elsewhere.
import { css } from 'lit'

export const pageStyles = css`
  :host {
    --card: light-dark(#fffefb, #201d1a);
    --well: light-dark(#fbf9f3, #191714);
    --ink: light-dark(#2a2520, #ece6db);
    --muted: light-dark(#6b6257, #a79d8f);
    --line: light-dark(#ddd5c5, #3d372f);
    --accent: light-dark(#86580a, #e3b04b);
    --accent-strong: light-dark(#6c4603, #efc46c);
    --on-accent: light-dark(#fff, #1f1706);
    --grain: light-dark(#c98a1b, #e3b04b);
    --good: light-dark(#2c6b39, #8ccb93);
    --bad: light-dark(#a3312a, #f19a8c);
    --radius: 0.5rem;
    display: block;
    color: var(--ink);
  }
  * {
    box-sizing: border-box;
  }
  .columns {
    display: grid;
    grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
    align-items: start;
    gap: 1.25rem;
  }
  .outcome {
    display: grid;
    gap: 1.25rem;
  }
  @media (max-width: 54rem) {
    .columns {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  .card {
    min-width: 0;
    padding: clamp(0.9rem, 2.5vw, 1.35rem);
    border: 1px solid var(--line);
    border-radius: calc(var(--radius) * 1.6);
    background: var(--card);
    box-shadow: 0 1px 2px light-dark(rgb(80 60 20 / 6%), rgb(0 0 0 / 30%));
  }
  h2,
  label {
    display: block;
    margin: 0 0 0.45rem;
    font-size: 0.95rem;
    font-weight: 600;
  }
  p {
    margin: 0;
  }
  .muted {
    color: var(--muted);
  }
  .hint {
    font-size: 0.86rem;
  }
  .problem {
    color: var(--bad);
    font-weight: 600;
  }
  .row {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.4rem 0.75rem;
  }
  p.row {
    justify-content: space-between;
    margin: 0.35rem 0 0.9rem;
  }
  .fields {
    display: grid;
    grid-template-columns: minmax(0, 1fr) 6.5rem 10.5rem;
    gap: 0.9rem;
    margin: 1rem 0 0.9rem;
  }
  .check {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    margin: 0 0 1.1rem;
    font-weight: 400;
  }
  .check input {
    width: auto;
    margin: 0;
  }
  textarea,
  input,
  select {
    width: 100%;
    padding: 0.5rem 0.65rem;
    border: 1px solid var(--line);
    border-radius: var(--radius);
    background: var(--well);
    color: inherit;
    font: inherit;
  }
  textarea {
    display: block;
    resize: vertical;
    font: 0.86rem / 1.55 ui-monospace, 'Cascadia Code', Menlo, Consolas, 'DejaVu Sans Mono', monospace;
  }
  ::placeholder {
    color: var(--muted);
    opacity: 0.75;
  }
  textarea:read-only,
  input:disabled,
  select:disabled {
    color: var(--muted);
    opacity: 1;
  }
  button,
  .button {
    display: inline-block;
    padding: 0.5rem 1rem;
    border: 1px solid var(--line);
    border-radius: var(--radius);
    background: var(--well);
    color: inherit;
    font: inherit;
    font-weight: 550;
    text-decoration: none;
    cursor: pointer;
    overflow-wrap: anywhere;
    transition: background-color 0.12s, border-color 0.12s;
  }
  button:hover,
  .button:hover {
    border-color: var(--accent);
  }
  .primary {
    border-color: transparent;
    background: var(--accent);
    color: var(--on-accent);
  }
  .primary:hover {
    background: var(--accent-strong);
  }
  button:disabled,
  button:disabled:hover {
    border-color: var(--line);
    background: transparent;
    color: var(--muted);
    opacity: 0.65;
    cursor: not-allowed;
  }
  :is(button, a, input, select, textarea, summary, ul, .console):focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 2px;
  }
  .notice {
    display: grid;
    gap: 0.1rem;
    margin-bottom: 0.9rem;
    padding: 0.6rem 0.9rem;
    border: 1px solid var(--line);
    border-left: 4px solid var(--accent);
    border-radius: var(--radius);
    background: var(--well);
    overflow-wrap: anywhere;
  }
  .notice.bad {
    border-left-color: var(--bad);
  }
  .notice.bad strong {
    color: var(--bad);
  }
  .now {
    margin-bottom: 0.5rem;
    font-size: 1.1rem;
    font-weight: 600;
  }
  .bar {
    display: flex;
    height: 0.8rem;
    overflow: hidden;
    border: 1px solid var(--line);
    border-radius: 1rem;
    background: var(--well);
  }
  .bar div {
    transition: width 0.25s ease-out;
  }
  .bar .sealed {
    background: var(--grain);
  }
  .bar .under-way {
    background: var(--grain);
    opacity: 0.4;
  }
  .bar .failed {
    background: var(--bad);
  }
  .bar.ended .sealed {
    background: var(--muted);
  }
  .bar.waiting {
    background: linear-gradient(90deg, transparent 30%, var(--grain) 50%, transparent 70%) 0 0 / 200% 100%;
    animation: waiting 1.6s linear infinite;
  }
  @keyframes waiting {
    from {
      background-position: 150% 0;
    }
    to {
      background-position: -50% 0;
    }
  }
  @media (prefers-reduced-motion: reduce) {
    .bar.waiting {
      animation: none;
    }
    .bar div {
      transition: none;
    }
  }
  .numbers {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
    gap: 0.6rem 1rem;
    margin: 0.9rem 0 0;
  }
  dt {
    color: var(--muted);
    font-size: 0.82rem;
  }
  dd {
    margin: 0;
    font-variant-numeric: tabular-nums;
  }
  .download {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.5rem 1rem;
    margin-top: 1.1rem;
    font-size: 0.92rem;
  }
  .download a {
    font-size: 1rem;
  }
  .card > .hint {
    margin-top: 0.9rem;
  }
  .active {
    margin-top: 0.9rem;
    font-size: 0.88rem;
  }
  .active summary {
    width: fit-content;
    border-radius: 0.25rem;
    cursor: pointer;
  }
  ul {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 0.6rem;
    max-height: 20rem;
    margin: 0;
    padding: 0;
    overflow-y: auto;
    list-style: none;
  }
  .active ul {
    max-height: 12rem;
    margin-top: 0.5rem;
    gap: 0.3rem;
  }
  .active li {
    display: flex;
    justify-content: space-between;
    gap: 1rem;
  }
  .active .url {
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .active .muted {
    flex: none;
    font-variant-numeric: tabular-nums;
  }
  .ignored {
    margin: 0 0 0.9rem;
    font-size: 0.86rem;
  }
  .ignored summary {
    width: fit-content;
    border-radius: 0.25rem;
    color: var(--bad);
    font-weight: 600;
    cursor: pointer;
  }
  .ignored ul {
    max-height: 10rem;
    margin-top: 0.4rem;
    gap: 0.3rem;
  }
  .ignored li {
    display: grid;
    grid-template-columns: max-content minmax(0, 1fr);
    gap: 0 0.75rem;
  }
  .ignored .url {
    overflow-wrap: anywhere;
  }
  .ignored .reason {
    grid-column: 2;
    color: var(--muted);
  }
  .failures h2 {
    color: var(--bad);
  }
  .failures li {
    display: grid;
    gap: 0.1rem;
    font-size: 0.9rem;
  }
  .failures .url {
    overflow-wrap: anywhere;
  }
  .failures .reason {
    color: var(--muted);
  }
  code {
    padding: 0.05rem 0.35rem;
    border: 1px solid var(--line);
    border-radius: 0.3rem;
    background: var(--well);
    color: var(--bad);
    font: 0.8rem ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
  }
`
