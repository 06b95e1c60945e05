// Signatures and sizes of the records of a zip, for the code that writes them and the code that reads them.
// Numbers in comments are sections of PKWARE's APPNOTE.TXT 6.3.10.

export const LOCAL_HEADER_SIGNATURE = 0x0403_4b50 // 4.3.7
export const CENTRAL_HEADER_SIGNATURE = 0x0201_4b50 // 4.3.12
export const END_SIGNATURE = 0x0605_4b50 // 4.3.16
export const ZIP64_END_SIGNATURE = 0x0606_4b50 // 4.3.14
export const ZIP64_LOCATOR_SIGNATURE = 0x0706_4b50 // 4.3.15

/** These sizes do not include name, extra fields and comment. */
export const LOCAL_HEADER_BYTES = 30
export const CENTRAL_HEADER_BYTES = 46
export const END_BYTES = 22
export const ZIP64_END_BYTES = 56
export const ZIP64_LOCATOR_BYTES = 20

export const METHOD_STORE = 0 // 4.4.5
export const METHOD_DEFLATE = 8

/** A field of all ones refers to the zip64 record (4.4.1.4), so a real value of that size needs zip64 too. */
export const MAX_32 = 0xffff_ffff
export const MAX_16 = 0xffff
