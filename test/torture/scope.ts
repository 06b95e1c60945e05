// What every proof is given and how it speaks: settings, chance, lines of a table, and the one way to fail.

/** A server did what it promised never to do, or did not do what it promised. */
export class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise'
}

export function promised(kept: unknown, message: string | (() => string)): asserts kept {
  if (!kept) throw new BrokenPromise(typeof message === 'string' ? message : message())
}

export interface Settings {
  readonly kills: number
  readonly cuts: number
  readonly clients: number
  readonly sockets: number
  readonly crowd: number
  readonly seconds: number
  readonly rounds: number
  readonly faults: number
  readonly first: number
  readonly last: number
  readonly seed: number
}

export interface Scope {
  readonly settings: Settings
  /** 0 to 1; the same seed gives the same row to the same proof. */
  readonly random: () => number
  /** A directory of this proof's own. */
  readonly directory: string
  tell(line: string): void
}

export interface Proof {
  /** What is proven, in one line. */
  readonly summary: string
  prove(scope: Scope): Promise<void>
}

/** Label and value in two columns. */
export function tellAll({ tell }: Pick<Scope, 'tell'>, rows: Record<string, string | number>): void {
  const width = Math.max(...Object.keys(rows).map(({ length }) => length))
  for (const [label, value] of Object.entries(rows)) tell(`  ${label.padEnd(width)}  ${value}`)
}

export const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`

export const countBy = (words: readonly string[]) =>
  Object.entries(Object.groupBy(words, (word) => word))
    .map(([word, alike]) => `${word} ${alike?.length}`)
    .sort()
    .join(', ') || 'none'

export function between(random: () => number, from: number, to: number): number {
  return from + Math.floor(random() * (to - from))
}

export function oneOf<T>(random: () => number, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)]!
}
