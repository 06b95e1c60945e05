// Writes what the page says when something was refused or ended badly, with advice what to do. Pure.
import { RefusedError } from '#contracts/client.ts'
import type { AbortedEvent } from '#contracts/events.ts'
import type { AbortCode, RefusalCode } from '#contracts/failures.ts'

export interface Notice {
  readonly tone: 'info' | 'bad'
  readonly title: string
  readonly advice: string
}

const refusalAdvice: Record<RefusalCode, string> = {
  BAD_INPUT: 'Check the list and the name.',
  TOO_MANY_ENTRIES: 'Split the list and make several archives.',
  MANIFEST_TOO_LARGE: 'Split the list and make several archives.',
  KEY_CONFLICT: 'Press Create again: the archive gets a new key.',
  GONE: 'Press Create to make it again.',
  NOT_FOUND: 'Press Create to make it again.',
  BUSY: 'Wait a little, then press Create again.',
  NO_SPACE: 'Wait until older archives have expired, then press Create again.',
  SHUTTING_DOWN: 'Press Create again in a moment.',
  PROTOCOL_MISMATCH: 'The server was updated. Reload this page.',
}

const abortAdvice: Record<AbortCode, string> = {
  CANCELLED: 'The list is still here.',
  ABANDONED: 'Press Create to make it again, and keep this tab open until it is complete.',
  NO_ENTRIES: 'See the reasons below, correct the list and press Create again.',
  ENTRY_FAILED: 'See the reason below, correct the list and press Create again.',
  ARCHIVE_TOO_LARGE: 'Split the list and make several archives.',
  ARCHIVE_TIMEOUT: 'Try a shorter list.',
  NO_SPACE: 'Wait until older archives have expired, then press Create again.',
  UNRECOVERABLE: 'Press Create to make it again.',
  INTERNAL: 'Press Create to try again. If it happens again, tell whoever runs this server.',
}

export function noticeOfError(error: unknown): Notice {
  if (error instanceof RefusedError) {
    const { code, message } = error.refusal
    // A newer server may send codes that this page does not know.
    const advice: string | undefined = refusalAdvice[code]
    return { tone: 'bad', title: `Refused: ${message}`, advice: advice ?? 'Reload this page and try again.' }
  }
  const message = error instanceof Error ? error.message : String(error)
  return { tone: 'bad', title: `That did not work: ${message}`, advice: 'Press Create to try again.' }
}

export function noticeOfAbort({ code, message }: AbortedEvent): Notice {
  const advice: string | undefined = abortAdvice[code]
  const tone = code === 'CANCELLED' ? 'info' : 'bad'
  return { tone, title: `No archive: ${message}`, advice: advice ?? 'Press Create to try again.' }
}

/** The archive was gone when the page came back to it. That is nobody's fault, and the list is kept. */
export const noticeOfGone: Notice = {
  tone: 'info',
  title: 'The archive is no longer on the server.',
  advice: 'Press Create to make it again.',
}

export function isGone(error: unknown): boolean {
  return error instanceof RefusedError && (error.refusal.code === 'GONE' || error.refusal.code === 'NOT_FOUND')
}
