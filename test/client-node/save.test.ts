// Watching and downloading side by side: when the download starts, and that both end if either fails.
import { describe, expect, it } from 'vitest'
import { DownloadError } from '../../client-node/download.ts'
import { ArchiveAbortedError, type SaveOptions, type Store, saveArchive } from '../../client-node/save.ts'
import type { Stored, StoreOptions } from '../../client-node/store.ts'
import type { ArchiveFormat } from '../../contracts/archive.ts'
import type { AbortedEvent, AcceptedEvent, ArchiveEvent, CompleteEvent } from '../../contracts/events.ts'

const acceptedOf = (format: ArchiveFormat) => ({ type: 'accepted', format, name: `a.${format}` }) as AcceptedEvent
const complete = { type: 'complete', sizeBytes: 7, etag: '"x.1"' } as CompleteEvent
const aborted = { type: 'aborted', code: 'NO_ENTRIES', message: 'nothing could be fetched' } as AbortedEvent

const untilAborted = (signal: AbortSignal | undefined) =>
  new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))

/** Records what happens, in order. */
function stage(events: ArchiveEvent[], { hang = false }: { hang?: boolean } = {}) {
  const told: string[] = []
  const given: { target: unknown; options: StoreOptions }[] = []
  async function* watch(signal: AbortSignal) {
    for (const event of events) {
      signal.throwIfAborted()
      await new Promise((resolve) => setTimeout(resolve, 5))
      told.push(event.type)
      yield event
    }
    try {
      if (hang) await untilAborted(signal)
    } finally {
      told.push('watched')
    }
  }
  const store: Store = async (_, target, options) => {
    given.push({ target, options })
    told.push('store')
    const { sizeBytes, etag } = await options.complete!
    told.push('stored')
    return { sizeBytes, etag, path: String(target) } satisfies Stored
  }
  const save = (options: SaveOptions = {}, replacement = store) => saveArchive(watch, replacement, options)
  return { told, given, save }
}

describe('an archive that is saved', () => {
  it('is downloaded from the first event on, if it is a zip', async () => {
    const { told, given, save } = stage([acceptedOf('zip'), complete])
    expect(await save({ output: 'out.zip' })).toMatchObject({ path: 'out.zip', sizeBytes: 7, complete })
    expect(told).toEqual(['accepted', 'store', 'complete', 'watched', 'stored'])
    expect(given[0]?.options.ifTaken).toBe('replace')
  })

  it.each(['tar', 'tar.gz'] as const)('is downloaded when it is complete, if it is a %s', async (format) => {
    const { told, save } = stage([acceptedOf(format), complete])
    await save({ output: 'out' })
    expect(told).toEqual(['accepted', 'complete', 'watched', 'store', 'stored'])
  })

  it('is downloaded once, even if a new stream reports again that it was accepted', async () => {
    const { given, save } = stage([acceptedOf('zip'), acceptedOf('zip'), complete])
    await save({ output: 'out.zip' })
    expect(given).toHaveLength(1)
  })

  it('is saved under its own name if no output is given, and replaces no file', async () => {
    const { given, save } = stage([acceptedOf('zip'), complete])
    await save()
    expect(given[0]).toMatchObject({ target: 'a.zip', options: { ifTaken: 'number' } })
  })

  it('may pause in its download as long as it is watched, and no longer', async () => {
    const { given, save } = stage([acceptedOf('zip'), complete])
    const patience: (boolean | undefined)[] = []
    await save({ output: 'out.zip', onEvent: () => void patience.push(given[0]?.options.isGrowing?.()) })
    patience.push(given[0]?.options.isGrowing?.())
    expect(patience).toEqual([undefined, true, false])
  })

  it('lets the reader of its events set the pace', async () => {
    const { told, save } = stage([acceptedOf('tar'), complete])
    await save({
      output: 'out.tar',
      async onEvent(event) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        told.push(`${event.type} was read`)
      },
    })
    expect(told.slice(0, 4)).toEqual(['accepted', 'accepted was read', 'complete', 'complete was read'])
  })
})

describe('a failure', () => {
  it('of the archive ends the download', async () => {
    const { given, save } = stage([acceptedOf('zip'), aborted])
    const failure = await save({ output: 'out.zip' }).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(ArchiveAbortedError)
    expect(failure).toMatchObject({ event: aborted })
    expect(given[0]?.options.signal?.aborted).toBe(true)
  })

  it('of the download ends the watching', async () => {
    const { told, save } = stage([acceptedOf('zip')], { hang: true })
    await expect(save({ output: 'out.zip' }, () => Promise.reject(new Error('disk full')))).rejects.toThrow('disk full')
    expect(told).toEqual(['accepted', 'watched'])
  })

  it('of the archive is thrown, and not the missing file that follows from it', async () => {
    const { save } = stage([acceptedOf('zip'), aborted])
    const missing: Store = () => Promise.reject(new DownloadError('MISSING', 'no such archive'))
    await expect(save({ output: 'out.zip' }, missing)).rejects.toBeInstanceOf(ArchiveAbortedError)
  })

  it('to find the archive is thrown if no event explains it', async () => {
    const { save } = stage([acceptedOf('zip')], { hang: true })
    const missing: Store = () => Promise.reject(new DownloadError('MISSING', 'no such archive'))
    await expect(save({ output: 'out.zip' }, missing)).rejects.toThrow('no such archive')
  })

  it('of the reader of the events ends both', async () => {
    const { given, save } = stage([acceptedOf('zip'), complete])
    const onEvent = (event: ArchiveEvent) => {
      if (event.type === 'complete') throw new Error('EPIPE')
    }
    await expect(save({ output: 'out.zip', onEvent })).rejects.toThrow('EPIPE')
    expect(given[0]?.options.signal?.aborted).toBe(true)
  })

  it('is thrown only when both have ended', async () => {
    const { told, save } = stage([acceptedOf('zip')], { hang: true })
    const ending = new AbortController()
    const slow: Store = async (_, __, { signal }) => {
      await untilAborted(signal).catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, 30))
      told.push('part file removed')
      throw new Error('not what is told')
    }
    setTimeout(() => ending.abort(new Error('the user has left')), 30)
    const saving = save({ output: 'out.zip', signal: ending.signal }, slow)
    await expect(saving).rejects.toThrow('the user has left')
    expect(told).toEqual(['accepted', 'watched', 'part file removed'])
  })
})
