// Picks some of the server's samples at random. Pure: the source of chance is passed in.

/** Fewer samples would not look like a list. If a server has fewer, all of them are taken. */
const FEWEST = 3

/**
 * Returns some of `samples` in random order, none twice. Their number differs from `previousCount` if that is possible,
 * so that two presses in a row never give the same list.
 */
export function chooseSamples(samples: readonly string[], previousCount: number, random = Math.random): string[] {
  const counts: number[] = []
  for (let count = Math.min(FEWEST, samples.length); count <= samples.length; count++) {
    if (count !== previousCount) counts.push(count)
  }
  const count = counts[Math.floor(random() * counts.length)] ?? samples.length
  return shuffled(samples, random).slice(0, count)
}

/** Fisher-Yates: every order is equally likely. */
function shuffled(samples: readonly string[], random: () => number): string[] {
  const deck = [...samples]
  for (let last = deck.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    ;[deck[last], deck[other]] = [deck[other]!, deck[last]!]
  }
  return deck
}
