// What every proof is given: settings, random numbers, a directory, a way to print, and the one error that fails it.

/** A server did not keep one of its promises. */
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
  /** Returns a number from 0 to 1. The same seed gives the same sequence to the same proof. */
  readonly random: () => number
  /** A directory for this proof alone. */
  readonly directory: string
  tell(line: string): void
}

export interface Proof {
  /** One line that says what is proven. */
  readonly summary: string
  prove(scope: Scope): Promise<void>
}

/** Prints labels and values in two columns. */
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
