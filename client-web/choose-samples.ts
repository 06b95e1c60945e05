// Picks some of the server's samples at random. Pure: chance is passed in.

/** Fewer would not look like a list; a server with fewer samples gives all it has. */
const FEWEST = 3

/**
 * Some of `samples` in random order, none twice, and another number of them than `previousCount` wherever there is a
 * choice, so that two presses in a row never give the same list.
 */
export function chooseSamples(samples: readonly string[], previousCount: number, random = Math.random): string[] {
  const counts: number[] = []
  for (let count = Math.min(FEWEST, samples.length); count <= samples.length; count++) {
    if (count !== previousCount) counts.push(count)
  }
  const count = counts[Math.floor(random() * counts.length)] ?? samples.length
  return shuffled(samples, random).slice(0, count)
}

/** Fisher and Yates: every order is equally likely. */
function shuffled(samples: readonly string[], random: () => number): string[] {
  const deck = [...samples]
  for (let last = deck.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    ;[deck[last], deck[other]] = [deck[other]!, deck[last]!]
  }
  return deck
}
