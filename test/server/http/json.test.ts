// When JSON is too much to be parsed: by its depth and its tokens, but never by the content of its strings.
import { describe, expect, it } from 'vitest'
import { judgeJson } from '../../../server/http/json.ts'

const limits = { maxDepth: 4, maxTokens: 10 }
const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
const wide = (count: number) => JSON.stringify(Array.from({ length: count }, () => 0))

describe('the size of JSON', () => {
  it.each([
    ['as deep as may be', deep(4)],
    ['as many tokens as may be', wide(9)],
    ['keys and values', '{"a":1,"b":[true,null],"c":"d"}'],
    ['siblings, each of them deep', '[[[[]]],[[[]]]]'],
    ['brackets in a string', JSON.stringify('[[[[[[[[{{{{{{1,2,3,4,5,6,7,8,9,10,11,12')],
    ['escaped quotes', JSON.stringify('"[[[[[[[["\\"[[[[[[[[\\\\')],
    ['a string that does not end', '"[[[[[[[['],
    ['nothing', ''],
    ['a large number', '1'.repeat(64)],
  ])('is accepted: %s', (_, text) => {
    expect(judgeJson(text, limits)).toBeNull()
  })

  it.each([
    ['deeper', deep(5), /deeper than 4/],
    ['deeper, of objects', '{"a":'.repeat(5), /deeper than 4/],
    ['deeper, and never closed', '['.repeat(1_000_000), /deeper than 4/],
    ['more tokens', wide(10), /more than 10/],
    ['more keys', '{"a":1,"b":1,"c":1,"d":1,"e":1}', /more than 10/],
    ['more tokens behind a string that ends in backslashes', `["\\\\",${wide(10).slice(1)}`, /more than 10/],
    ['a number without an end', '1'.repeat(1_000_000), /more than 64/],
  ])('is too much: %s', (_, text, reason) => {
    expect(judgeJson(text, limits)).toMatch(reason)
  })

  it('takes time in proportion to the text, whatever it is made of', () => {
    const roomy = { maxDepth: 32, maxTokens: 10 ** 9 }
    const units = ['\\"', '\\', '"\\\\"', '[]', '{"a":1},', '0,', '" ', '\\\\\\"']
    for (const unit of units) {
      const msOf = (units: number) => {
        const text = `"${unit.repeat(units)}`
        const startedAt = performance.now()
        judgeJson(text, roomy)
        return performance.now() - startedAt
      }
      msOf(100_000)
      // A quadratic algorithm would take a hundred times as long.
      expect([unit, msOf(1_000_000) < 30 * Math.max(5, msOf(100_000))]).toEqual([unit, true])
    }
  })
})
