// The memory ledger of this room: everything that clients can make it hold, and how much of that at most.

const KiB = 1024
const MiB = 1024 * KiB

/*
 * what                                            at most                              by
 * ----------------------------------------------- ------------------------------------ --------------------------------
 * bodies and messages that are being received,    RECEIVING_BYTES, or four of the      SHEAF_MAX_MANIFEST_BYTES
 *   wait, or are being answered; calls under way    largest messages
 * answers that are made and not taken             ANSWERS_BYTES, or two of the         SHEAF_MAX_MANIFEST_BYTES
 *                                                   largest messages
 * of both, what is not worth counting             2 x UNCOUNTED_BYTES a socket         SHEAF_MAX_SOCKETS
 * events that are told and not taken              BACKLOG_BYTES a socket               SHEAF_MAX_SOCKETS
 * heads of requests                               16 KiB a socket (Node)               SHEAF_MAX_SOCKETS
 * manifests that were listed from moments ago     MANIFESTS_BYTES (archives/manifests.ts)
 * blocks on their way out                         DOWNLOAD_BLOCKS_BYTES, then 64 KiB   SHEAF_MAX_DOWNLOADS
 *                                                   a download (outgoing.ts)
 * bodies that downloads get out of memory         MAX_RECENT_BYTES (outgoing.ts)
 *
 * Time bounds the rest: what stands still is cut off after the deadlines below and SHEAF_SLOW_READER_MS.
 */

/** Of all clients together; one of them leaves room for others, see `leavesRoom`. */
export const RECEIVING_BYTES = 32 * MiB
export const ANSWERS_BYTES = 16 * MiB
/** Of one HTTP answer, a batch counted together: 32 pages of entries. */
export const RESPONSE_BYTES = 8 * MiB
/** So little is not worth counting. */
export const UNCOUNTED_BYTES = 16 * KiB
/** While more than this waits for a client to take it, it gets nothing new and none of its messages is looked at. */
export const BACKLOG_BYTES = 16 * KiB
/** What a call costs that is under way, beside its bytes. */
export const CALL_BYTES = 6 * KiB
/** Of one websocket, not answered; the next ones wait. */
export const CALLS_AT_A_TIME = 8
/** Requests and messages that are begun in one turn of the loop; each costs less than a millisecond, a batch several. */
export const BEGUN_AT_A_TIME = 8
/** Bodies that are read though nobody wants them; of more the connection is closed. */
export const DISCARDS = 64
/** Of one connection, one behind the other without waiting for an answer (RFC 9112 section 9.3.2). */
export const PIPELINED_REQUESTS = 16

export const DOWNLOAD_BLOCKS_BYTES = 64 * MiB

/** For a request's head. */
export const HEAD_MS = 15_000
/** For a request or a message from its first byte to its last. */
export const RECEIVE_MS = 60_000
/** Longest silence in a body. */
export const BODY_SILENCE_MS = 15_000
/** A client that has something to take has to take this much, over SHEAF_SLOW_READER_MS. */
export const MIN_BYTES_PER_SECOND = 1_000
