// The envelope of what a client sends is opened, but its values are never revived.
import superjson from 'superjson'
import { describe, expect, it } from 'vitest'
import { openEnvelope, transformer, UNFIT } from '#contracts/wire.ts'

/** Opens the envelope as it comes out of a request. */
const received = (sent: unknown) => openEnvelope(JSON.parse(JSON.stringify(sent)))

const faultOf = (opened: unknown) => (opened as Record<symbol, unknown> | undefined)?.[UNFIT] ?? null

describe('openEnvelope', () => {
  it.each([[{ text: 'a' }], [[1, null, 'b']], ['text'], [0], [null], [{ deep: { er: [{ still: true }] } }]])(
    'hands out %j as it is',
    (value) => {
      expect(received(transformer.serialize(value))).toEqual(value)
      expect(received(superjson.serialize(value))).toEqual(value)
    },
  )

  it('accepts the annotation of empty fields that superjson clients send for each optional field', () => {
    const entries = [{ url: 'a', name: undefined }, { url: 'b', name: 'c' }, 'd']
    const opened = received(superjson.serialize({ entries, name: undefined, format: 'zip', lastEventId: null }))
    expect(opened).toStrictEqual({ entries, name: undefined, format: 'zip', lastEventId: null })
    expect(received(superjson.serialize(undefined))).toBeUndefined()
    expect(received(transformer.serialize(undefined))).toBeUndefined()
    expect(openEnvelope(undefined)).toBeUndefined()
  })

  it.each([
    ['a date', new Date(0)],
    ['a big number', { cursor: 10n ** 400n }],
    ['a set', { entries: new Set(['a']) }],
    ['a map', new Map([['a', 1]])],
    ['an expression', { text: /a/ }],
    ['a number that is none', { cursor: Number.NaN }],
    ['shared references', (() => [{ a: { b: 1 } }].flatMap((one) => [one.a, one.a]))()],
    ['an error', new Error('a')],
    ['a URL', new URL('http://a/')],
  ])('refuses %s, which only meta can express', (_, value) => {
    expect(faultOf(received(superjson.serialize(value)))).toMatch(/^meta: /)
  })

  it.each([
    ['equalities', { referentialEqualities: { a: ['b'] } }],
    ['no object', 'undefined'],
    ['a list', [['undefined']]],
    ['null', null],
    ['a prototype', { values: { '__proto__.polluted': ['Date'] } }],
    ['more than undefined', { values: { a: ['undefined', { b: ['Date'] }] } }],
    ['what is not there', { values: ['undefined'] }],
  ])('refuses a meta of %s', (_, meta) => {
    expect(faultOf(received({ json: { a: 'b' }, meta }))).toMatch(/^meta: /)
  })

  it.each([[[]], ['text'], [5], [null]])('refuses %j, which is not an envelope', (envelope) => {
    expect(faultOf(received(envelope))).toMatch(/"json"/)
  })

  it('clears only nulls, and does not reach a prototype', () => {
    const values = {
      'a.b': ['undefined'],
      'a.constructor.prototype.c': ['undefined'],
      '__proto__.d': ['undefined'],
      e: ['undefined'],
    }
    const opened = received({ json: { a: { b: 1 }, e: null }, meta: { values } })
    expect(opened).toStrictEqual({ a: { b: 1 }, e: undefined })
    expect({}).not.toHaveProperty('c')
  })

  it('refuses more annotations than there are fields', () => {
    const values = Object.fromEntries(Array.from({ length: 60_000 }, (_, n) => [`a${n}`, ['undefined']]))
    expect(faultOf(received({ json: {}, meta: { values } }))).toMatch(/^meta: /)
  })
})
