// Which bodies `auto` does not compress, by media type or by name.
import { expect, it } from 'vitest'
import { isCompressedMedia } from '../../../server/zip/compressible.ts'

it.each([
  ['a.jpg', null],
  ['A.JPG', null],
  ['a', 'image/jpeg'],
  ['a', 'IMAGE/PNG; charset=binary'],
  ['a.txt', 'image/webp'],
  ['a.mp4', 'application/octet-stream'],
  ['a', 'video/x-matroska'],
  ['a.mp3', 'text/plain'],
  ['a.zip', null],
  ['a.tar.gz', null],
  ['a.docx', null],
  ['a', 'application/vnd.openxmlformats-officedocument.presentationml.presentation'],
  ['a.odt', null],
  ['a.woff2', null],
])('%s of type %s is compressed already', (name, type) => {
  expect(isCompressedMedia(name, type)).toBe(true)
})

it.each([
  ['a.txt', 'text/plain'],
  ['a.svg', 'image/svg+xml'],
  ['a.bmp', null],
  ['a.wav', 'audio/x-wav'],
  ['a.wav', null],
  ['a.tiff', null],
  ['a', null],
  ['a.unknown', 'application/x-nobody-knows'],
  ['a.json', 'application/json'],
  ['a.tar', null],
  ['zip', null],
])('%s of type %s may shrink', (name, type) => {
  expect(isCompressedMedia(name, type)).toBe(false)
})
