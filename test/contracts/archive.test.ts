// What the schemas say about invalid input: the field and its first fault, and nothing of what was sent.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createArchiveInputSchema,
  echoInputSchema,
  listEntriesInputSchema,
  MAX_ENTRIES,
  MAX_NAME_LENGTH,
  planArchiveInputSchema,
  watchArchiveInputSchema,
} from '#contracts/archive.ts'

const archiveKey = 'k'.repeat(24)

/** Returns each fault as "path: message". */
function faultsOf(entries: unknown): string[] {
  const { error } = createArchiveInputSchema.safeParse({ archiveKey, entries })
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)
}

describe('entries', () => {
  it.each([
    [['a']],
    [['']],
    [[{ url: 'a' }]],
    [[{ url: 'a', name: undefined }, 'b', { url: 'c', name: 'n'.repeat(MAX_NAME_LENGTH) }]],
  ])('may be %j', (entries) => {
    const input = { archiveKey, entries }
    expect(createArchiveInputSchema.parse(input)).toEqual(input)
    expect(planArchiveInputSchema.parse({ entries })).toEqual({ entries })
  })

  it.each<[entries: unknown, fault: RegExp]>([
    [undefined, /^entries: /],
    [null, /^entries: /],
    ['a', /^entries: /],
    [{ 0: 'a', length: 1 }, /^entries: /],
    [[], /^entries: .*at least one/],
    [['a', 0], /^entries\.1: /],
    [['a', null, 0], /^entries\.1: /],
    [[['a']], /^entries\.0: /],
    [[{}], /^entries\.0\.url: /],
    [[{ url: 7 }], /^entries\.0\.url: /],
    [['a', 'b', { url: 'c', name: 7 }], /^entries\.2\.name: /],
    [[{ url: 'c', name: null }], /^entries\.0\.name: /],
    [['a', { url: 'c', name: 'n'.repeat(MAX_NAME_LENGTH + 1) }], /^entries\.1\.name: .*4096/],
    [new Array(MAX_ENTRIES + 1).fill('a'), /^entries: .*1000000/],
  ])('may not be %j', (entries, fault) => {
    expect(faultsOf(entries)).toEqual([expect.stringMatching(fault)])
  })

  it('are checked only up to the first fault, however many there are', () => {
    const entries = new Array(MAX_ENTRIES).fill(0)
    // Counts how many items the schema reads.
    let read = 0
    const counting = new Proxy(entries, {
      get(target, key, receiver) {
        if (key !== 'length' && typeof key === 'string' && /^\d+$/.test(key)) read++
        return Reflect.get(target, key, receiver)
      },
    })
    expect(faultsOf(counting)).toHaveLength(1)
    expect(read).toBe(1)
  })
})

it('report faults in a few words, whatever was sent', () => {
  const huge = fc.constantFrom<unknown>(
    'x'.repeat(1_000_000),
    Array.from({ length: 100_000 }, () => 'x'),
    Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`key${n}`, n])),
    1e300,
    null,
    true,
  )
  const schemas = [
    createArchiveInputSchema,
    planArchiveInputSchema,
    watchArchiveInputSchema,
    listEntriesInputSchema,
    echoInputSchema,
  ]
  const fields = [...new Set(schemas.flatMap((schema) => Object.keys(schema.shape)))]
  const input = fc.oneof(huge, fc.dictionary(fc.constantFrom(...fields, 'unknown'), huge, { noNullPrototype: true }))
  fc.assert(
    fc.property(fc.constantFrom(...schemas), input, (schema, value) => {
      const { error } = schema.safeParse(value)
      for (const issue of error?.issues ?? []) expect(JSON.stringify(issue).length).toBeLessThan(500)
      // A field has at most two faults: a number may be outside the safe integers and outside its own range.
      expect(error?.issues.length ?? 0).toBeLessThanOrEqual(2 * Object.keys(schema.shape).length)
    }),
    { numRuns: 100 },
  )
})
