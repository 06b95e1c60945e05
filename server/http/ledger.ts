// The memory ledger of this room: lists everything that clients can make it hold, and the most of each.

const KiB = 1024
const MiB = 1024 * KiB

/*
 * what                                            at most                              by
 * ----------------------------------------------- ------------------------------------ --------------------------------
 * bodies and messages that are being received,    RECEIVING_BYTES, or four of the      SHEAF_MAX_MANIFEST_BYTES
 *   wait, or are being answered; calls under way    largest messages
 * answers that are made and not taken             ANSWERS_BYTES, or two of the         SHEAF_MAX_MANIFEST_BYTES
 *                                                   largest messages
 * bodies and answers too small to be counted      2 x UNCOUNTED_BYTES a socket         SHEAF_MAX_SOCKETS
 * events that are sent and not taken              BACKLOG_BYTES a socket               SHEAF_MAX_SOCKETS
 * heads of requests                               16 KiB a socket (Node)               SHEAF_MAX_SOCKETS
 * manifests that entries were listed from         MANIFESTS_BYTES (archives/manifests.ts)
 *   moments ago
 * blocks on their way out                         DOWNLOAD_BLOCKS_BYTES, then 64 KiB   SHEAF_MAX_DOWNLOADS
 *                                                   a download (outgoing.ts)
 * recent writes that downloads send from memory   MAX_RECENT_BYTES (outgoing.ts)
 *
 * Time bounds the rest: a connection that stands still is cut off by the deadlines below or by SHEAF_SLOW_READER_MS.
 */

/** These hold for all clients together. One client alone leaves room for others, see `leavesRoom`. */
export const RECEIVING_BYTES = 32 * MiB
export const ANSWERS_BYTES = 16 * MiB
/** The largest HTTP answer. A batch counts as one, and 32 pages of entries fit. */
export const RESPONSE_BYTES = 8 * MiB
/** Less than this is not worth counting. */
export const UNCOUNTED_BYTES = 16 * KiB
/** While more than this waits for a client to take it, the client gets nothing new and its messages are not read. */
export const BACKLOG_BYTES = 16 * KiB
/** What a call under way costs besides its bytes. */
export const CALL_BYTES = 6 * KiB
/** Unanswered calls of one websocket; further calls wait. */
export const CALLS_AT_A_TIME = 8
/**
 * Requests and messages that are begun in one turn of the loop. Each costs less than a millisecond, a batch several
 * milliseconds.
 */
export const BEGUN_AT_A_TIME = 8
/** Unwanted bodies that are read and dropped at a time. Beyond that, their connections are closed instead. */
export const DISCARDS = 64
/** Requests that one connection may have waiting for their answers (RFC 9112 section 9.3.2). */
export const PIPELINED_REQUESTS = 16

export const DOWNLOAD_BLOCKS_BYTES = 64 * MiB

/** Deadline for the head of a request. */
export const HEAD_MS = 15_000
/** Deadline for a request or a message, from its first byte to its last. */
export const RECEIVE_MS = 60_000
/** The longest silence in a body. */
export const BODY_SILENCE_MS = 15_000
/** A client with something to take has to take this much on average over SHEAF_SLOW_READER_MS. */
export const MIN_BYTES_PER_SECOND = 1_000
