// Runs one archive of this page: submit, watch, cancel, come back after a refresh. Its state is the `fold` of the
// events, and changes go to `onChange`. Renders nothing.
import type { ServerInfo } from '#contracts/api.ts'
import type { CreateArchiveInput } from '#contracts/archive.ts'
import { connect, newArchiveKey } from '#contracts/client.ts'
import type { ArchiveEvent } from '#contracts/events.ts'
import { type ArchiveState, fold, initialState } from '#contracts/state.ts'
import { appendLine, type ConsoleLine, type LineText, lineOf } from './console-lines.ts'
import { isGone, type Notice, noticeOfAbort, noticeOfError, noticeOfGone } from './notices.ts'
import type { RememberedArchive } from './session.ts'

export interface RunView {
  /** Null until the server has answered. */
  readonly info: ServerInfo | null
  readonly stage: 'idle' | 'running' | 'cancelling' | 'over'
  readonly archive: ArchiveState
  /** Why the server cannot be reached at the moment; null if it can. */
  readonly lost: string | null
  readonly notice: Notice | null
  readonly lines: readonly ConsoleLine[]
}

export interface ArchiveRunOptions {
  /** The server's URL with its path prefix. */
  base: string
  onChange(view: RunView): void
  /** Called with what must outlive a refresh, always before the step that it describes. */
  remember(archive: RememberedArchive | null): void
  /** Called once for an archive, when it is complete and nobody has pressed Cancel. */
  download(url: string, fileName: string): void
}

export type Manifest = Omit<CreateArchiveInput, 'archiveKey' | 'lastEventId'>
export type ArchiveRun = ReturnType<typeof createArchiveRun>

export const idleView: RunView = {
  info: null,
  stage: 'idle',
  archive: initialState,
  lost: null,
  notice: null,
  lines: [],
}

const INFO_RETRY_MS = 3_000

export function createArchiveRun({ base, onChange, remember, download }: ArchiveRunOptions) {
  let view = idleView
  let remembered: RememberedArchive | null = null
  let watching: AbortController | null = null
  const closed = new AbortController()
  const connection = connect({ url: base, onConnectionChange })

  function change(part: Partial<RunView>) {
    if (closed.signal.aborted) return
    view = { ...view, ...part }
    onChange(view)
  }

  function keep(archive: RememberedArchive | null) {
    remembered = archive
    remember(archive)
  }

  const withLine = (line: LineText) => ({ lines: appendLine(view.lines, line) })

  function onConnectionChange(lost: string | null) {
    if (lost === view.lost) return
    if (lost === null) change({ lost, ...withLine({ tone: 'good', text: 'the server answers again' }) })
    else change({ lost, ...withLine({ tone: 'bad', text: `waiting for the server: ${lost}` }) })
  }

  async function askInfo() {
    while (!closed.signal.aborted) {
      try {
        change({ info: await connection.trpc.serverInfo.query(undefined, { signal: closed.signal }) })
        onConnectionChange(null)
        return
      } catch {
        onConnectionChange('no connection to it')
        await new Promise((resolve) => setTimeout(resolve, INFO_RETRY_MS))
      }
    }
  }

  async function follow(events: AsyncIterable<ArchiveEvent>, signal: AbortSignal) {
    try {
      for await (const event of events) {
        signal.throwIfAborted()
        receive(event)
      }
    } catch (error) {
      if (signal.aborted) return
      keep(null)
      const notice = isGone(error) ? noticeOfGone : noticeOfError(error)
      const line: LineText = { tone: notice.tone === 'bad' ? 'bad' : 'plain', text: notice.title }
      change({ stage: 'idle', archive: initialState, lost: null, notice, ...withLine(line) })
    }
  }

  function receive(event: ArchiveEvent) {
    const wanted = view.stage === 'running'
    const line = lineOf(event, view.archive)
    change({ archive: fold(view.archive, event), ...(line && withLine(line)) })
    if (remembered === null) return
    if (event.type === 'accepted') {
      if (!remembered.accepted) keep({ ...remembered, accepted: true })
    } else if (event.type === 'aborted') {
      // A person who cancelled knows about it. Any other end is worth showing again after a refresh.
      if (event.code === 'CANCELLED') keep(null)
      change({ stage: 'over', notice: noticeOfAbort(event) })
    } else if (event.type === 'complete') {
      change({ stage: 'over' })
      if (remembered.downloadStarted) return
      keep({ ...remembered, downloadStarted: true })
      if (wanted) download(base + event.href, view.archive.accepted?.name ?? '')
    }
  }

  function begin(archive: RememberedArchive, lines: readonly ConsoleLine[]): AbortSignal {
    keep(archive)
    watching = new AbortController()
    change({ stage: 'running', archive: initialState, notice: null, lines })
    return AbortSignal.any([watching.signal, closed.signal])
  }

  const isCancelling = () => view.stage === 'cancelling'
  const isBusy = () => view.stage === 'running' || isCancelling()

  void askInfo()

  return {
    create(manifest: Manifest) {
      if (isBusy()) return
      const archiveKey = newArchiveKey()
      const signal = begin({ archiveKey, accepted: false, downloadStarted: false }, [])
      void follow(connection.createArchive({ ...manifest, archiveKey }, { signal }), signal)
    },

    /** Call it after a refresh. `manifest` is needed if the refresh came before the server had answered. */
    comeBack(archive: RememberedArchive, manifest: Manifest) {
      if (isBusy()) return
      const signal = begin(archive, appendLine([], { tone: 'plain', text: 'back at the archive from before' }))
      const { archiveKey, accepted } = archive
      // The manifest may have arrived already. The key makes it harmless to submit it again.
      const again = !accepted && manifest.entries.length > 0
      const events = again
        ? connection.createArchive({ ...manifest, archiveKey }, { signal })
        : connection.watchArchive(archiveKey, { signal })
      void follow(events, signal)
    },

    async cancel() {
      if (view.stage !== 'running' || remembered === null) return
      const { archiveKey } = remembered
      change({ stage: 'cancelling', ...withLine({ tone: 'plain', text: 'cancelling' }) })
      if (view.archive.accepted === null) {
        // There is no end to watch for yet. The server is called all the same, because the manifest may still arrive.
        watching?.abort()
        keep(null)
        change({ stage: 'idle', lost: null })
        await connection.cancelArchive(archiveKey).catch(() => {})
        return
      }
      try {
        await connection.cancelArchive(archiveKey)
      } catch (error) {
        // The archive is still being made, so the page goes back to that. If it were over, an event would have said so.
        if (isCancelling()) change({ stage: 'running', notice: noticeOfError(error) })
      }
    },

    /** Stops watching. The archive goes on for as long as the server lets it. */
    close() {
      closed.abort()
      void connection.close()
    },
  }
}
