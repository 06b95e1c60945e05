// Recognises a host without a scheme before it, such as "example.org/a.zip". Such a host is offered, never fetched unasked.

/** Longer ones are not looked at: a host has 253 characters at most (RFC 1035 section 2.3.4), and a path has its limits. */
const MAX_LENGTH = 2048
const NAME = String.raw`localhost|(?:[\p{L}\p{N}][\p{L}\p{N}_-]*\.)+\p{L}[\p{L}\p{N}-]{1,62}`
const ADDRESS = String.raw`\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\]`
const BARE = new RegExp(String.raw`^(?:(${NAME})|${ADDRESS})(:\d{1,5})?(?=([/?#])|$)`, 'iu')

/** A name with one of these ends is a file's, unless a path or a port makes it a host. */
const FILE_ENDS =
  /\.(?:7z|avi|bin|bmp|bz2|css|csv|docx?|epub|exe|flac|gif|gz|html?|ico|iso|jpe?g|js|json|log|m4a|md|mkv|mov|mp[34]|odt|ogg|pdf|png|pptx?|py|rar|rtf|sh|svg|tar|tgz|tiff?|ts|txt|wav|webm|webp|xlsx?|xml|xz|ya?ml|zip|zst)$/i

/** `strictly` wants a path, a port or "www." besides: in a sentence, "e.g" and "readme.md" look like hosts. */
export function isBareHost(text: string, strictly = false): boolean {
  if (text.length > MAX_LENGTH) return false
  const found = BARE.exec(text.startsWith('//') ? text.slice(2) : text)
  if (found === null) return false
  const [, name, port, more] = found
  if (port !== undefined || more === '/' || (name !== undefined && /^(?:www\.|localhost$)/i.test(name))) return true
  return !strictly && name !== undefined && !FILE_ENDS.test(name)
}
