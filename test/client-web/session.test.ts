// What a tab remembers over a refresh, and that nothing stored can break the page.
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSessionStore, emptyDraft, type Session } from '../../client-web/session.ts'

const BASE = 'http://127.0.0.1:8011'

/** A stand-in for the tab's storage, in which a value may have this many UTF-16 units. */
function memoryStorage(maxUnits = Infinity) {
  const values = new Map<string, string>()
  return {
    getItem: (key: string) => values.get(key) ?? null,
    setItem(key: string, value: string) {
      if (value.length > maxUnits) throw new DOMException('full', 'QuotaExceededError')
      values.set(key, value)
    },
  }
}

const session: Session = {
  draft: {
    list: 'http://a/1\n',
    assumeHttps: true,
    name: 'pictures',
    format: 'tar.gz',
    compression: 'auto',
    report: true,
  },
  archive: { archiveKey: 'k'.repeat(32), accepted: true, downloadStarted: false },
}

describe('createSessionStore', () => {
  it('reads back what was written', () => {
    const storage = memoryStorage()
    createSessionStore(storage, BASE).write(session)
    expect(createSessionStore(storage, BASE).read()).toEqual(session)
  })

  it('is empty at first', () => {
    expect(createSessionStore(memoryStorage(), BASE).read()).toEqual({ draft: emptyDraft, archive: null })
  })

  it('keeps servers at other paths apart', () => {
    const storage = memoryStorage()
    createSessionStore(storage, `${BASE}/one`).write(session)
    expect(createSessionStore(storage, `${BASE}/two`).read().archive).toBeNull()
  })

  it('keeps the key if the list does not fit', () => {
    const store = createSessionStore(memoryStorage(1_000), BASE)
    store.write({ ...session, draft: { ...session.draft, list: 'x'.repeat(2_000) } })
    expect(store.read()).toEqual({ ...session, draft: { ...session.draft, list: '' } })
  })

  it('works without a storage, and with a full one', () => {
    for (const storage of [null, memoryStorage(0)]) {
      const store = createSessionStore(storage, BASE)
      store.write(session)
      expect(store.read()).toEqual({ draft: emptyDraft, archive: null })
    }
  })

  it('ignores stored values that are not valid', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (stored) => {
        const { draft, archive } = createSessionStore({ getItem: () => stored, setItem() {} }, BASE).read()
        expect(typeof draft.list).toBe('string')
        expect(typeof draft.name).toBe('string')
        expect(['zip', 'tar', 'tar.gz']).toContain(draft.format)
        expect(archive === null || typeof archive.archiveKey === 'string').toBe(true)
      }),
    )
  })

  it('fills in what an older page did not store', () => {
    const getItem = () => JSON.stringify({ draft: { format: 'rar' }, archive: { archiveKey: 'k' } })
    expect(createSessionStore({ getItem, setItem() {} }, BASE).read()).toEqual({
      draft: emptyDraft,
      archive: { archiveKey: 'k', accepted: false, downloadStarted: false },
    })
  })
})
