// The file of what an operator sets for origins: what it may say, how a mistake is told, and which rule fits.
import { describe, expect, it } from 'vitest'
import { parseOriginRules, ruleFor } from '../../../../server/fetch/origins/rules.ts'

describe('the file of origins', () => {
  it('is a list of rules', () => {
    const rules = [
      { host: 'files.example.org', maxFetches: 4, requestsPerSecond: 0.5, headers: { Authorization: 'Bearer x' } },
      { host: '*.example.org:8080', forbidden: true },
      { host: '*' },
    ]
    expect(parseOriginRules(JSON.stringify(rules))).toEqual(rules)
    expect(parseOriginRules('[]')).toEqual([])
    expect(parseOriginRules('[{"host":"EXAMPLE.org"}]')).toEqual([{ host: 'example.org' }])
  })

  it.each([
    ['{', 'not JSON'],
    ['{}', 'the whole'],
    ['[{}]', '0.host'],
    ['[{"host":"https://example.org"}]', '0.host'],
    ['[{"host":"a*.example.org"}]', '0.host'],
    ['[{"host":"a"},{"host":"b","maxFetches":0}]', '1.maxFetches'],
    ['[{"host":"a","requestsPerSecond":0}]', '0.requestsPerSecond'],
    ['[{"host":"a","concurrency":3}]', 'concurrency'],
    ['[{"host":"a","headers":{"a b":"c"}}]', '0.headers'],
    ['[{"host":"a","headers":{"Host":"secret"}}]', '0.headers'],
    ['[{"host":"a","headers":{"range":"secret"}}]', '0.headers'],
    ['[{"host":"a","headers":{"x":"secret\\r\\ny: z"}}]', '0.headers.x'],
    ['[{"host":"a","headers":{"x":"secret ä"}}]', '0.headers.x'],
  ])('%j is refused by the name of the place, and tells no secret', (text, place) => {
    expect(() => parseOriginRules(text)).toThrow(place)
    expect(() => parseOriginRules(text)).not.toThrow('secret')
  })
})

describe('the rule for a URL', () => {
  const rules = parseOriginRules(
    JSON.stringify([
      { host: 'a.example.org', maxFetches: 1 },
      { host: '*.example.org:8080', maxFetches: 2 },
      { host: '*.example.org', maxFetches: 3 },
      { host: '[::1]', maxFetches: 4 },
    ]),
  )

  it.each([
    ['http://a.example.org/', 1],
    ['https://A.EXAMPLE.ORG./x', 1],
    ['http://a.example.org:8080/', 1],
    ['http://b.example.org:8080/', 2],
    ['http://b.example.org/', 3],
    ['https://deep.b.example.org:8443/', 3],
    ['http://[0:0::1]/', 4],
    ['http://example.org/', null],
    ['http://badexample.org/', null],
    ['http://a.example.org.evil.test/', null],
  ])('%s is the first that fits', (url, maxFetches) => {
    expect(ruleFor(new URL(url), rules)?.maxFetches ?? null).toBe(maxFetches)
  })
})
