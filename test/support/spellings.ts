// Addresses in disguise, for property tests: spellings of IPv4 that URL parsers accept, and IPv6 addresses that embed IPv4.
import fc from 'fast-check'

const specialV4 = [
  '127.0.0.1',
  '10.0.0.1',
  '169.254.169.254',
  '168.63.129.16',
  '0.0.0.0',
  '255.255.255.255',
  '93.184.216.34',
]
const octetsOf = (address: string) => address.split('.').map(Number)
const anyOctets = fc.oneof(
  fc.constantFrom(...specialV4).map(octetsOf),
  fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 }),
)

type Radix = (value: number) => string
const radices: Radix[] = [
  String,
  (value) => `0x${value.toString(16)}`,
  (value) => `0X00${value.toString(16).toUpperCase()}`,
  (value) => `0${value.toString(8)}`,
  (value) => `000${value.toString(8)}`,
]

/** Replace a character by another one that IDNA maps to it (UTS 46), or by its percent encoding. */
const disguises: ((char: string) => string)[] = [
  (char) => char,
  (char) => char,
  (char) => String.fromCodePoint(char.codePointAt(0)! + 0xfee0),
  (char) => `%${char.charCodeAt(0).toString(16)}`,
  (char) => `\u00ad${char}`,
  (char) => (/[1-9]/.test(char) ? String.fromCodePoint(0x2460 + Number(char) - 1) : char),
  (char) => (/\d/.test(char) ? String.fromCodePoint(0x1d7ce + Number(char)) : char),
  (char) => (char === '.' ? '\u3002' : char),
  (char) => encodeURIComponent(String.fromCodePoint(char.codePointAt(0)! + 0xfee0)),
]

/** An address and one of its many spellings: one to four numbers, each in one of three radices, with disguised characters. */
export const spelledAddresses = fc
  .record({
    octets: anyOctets,
    parts: fc.integer({ min: 1, max: 4 }),
    radices: fc.array(fc.constantFrom(...radices), { minLength: 4, maxLength: 4 }),
    disguises: fc.array(fc.constantFrom(...disguises), { minLength: 1, maxLength: 9 }),
    end: fc.constantFrom('', '', '.'),
  })
  .map(({ octets, parts, radices, disguises, end }) => {
    // The last number stands for all remaining octets (inet_aton).
    const rest = octets.slice(parts - 1).reduce((sum, octet) => sum * 256 + octet, 0)
    const numbers = [...octets.slice(0, parts - 1), rest]
    const plain = numbers.map((number, index) => radices[index]!(number)).join('.') + end
    const spelling = Array.from(plain, (char, index) => disguises[index % disguises.length]!(char)).join('')
    return { address: octets.join('.'), spelling }
  })

const group = fc.integer({ min: 0, max: 0xffff })
const groups = (count: number) => fc.array(group, { minLength: count, maxLength: count })
const hex = (...parts: number[]) => parts.map((part) => part.toString(16)).join(':')

/**
 * Every standardized way to embed an IPv4 address in an IPv6 address, with random values for the free bits. NAT64 is not among
 * them, because it is judged by the address inside.
 */
export const embeddings = fc
  .record({
    octets: anyOctets,
    free: groups(5),
    isDotted: fc.boolean(),
    isatap: fc.constantFrom(0, 0x100, 0x200, 0x300),
  })
  .chain(({ octets, free, isDotted, isatap }) => {
    const [a, b, c, d] = octets as [number, number, number, number]
    const [high, low] = [(a << 8) | b, (c << 8) | d]
    const tail = isDotted ? octets.join('.') : hex(high, low)
    const site = (0x2000 | (free[0]! & 0x1fff)).toString(16)
    return fc.constantFrom(
      `::ffff:${tail}`, // mapped, RFC 4291 2.5.5.2
      `::${tail}`, // compatible, RFC 4291 2.5.5.1
      `::ffff:0:${tail}`, // translated, RFC 2765 2.1
      `64:ff9b:1:${hex(...free.slice(0, 3))}:${tail}`, // local NAT64, RFC 8215
      `64:ff9b:1:${hex(high, low >> 8, (low & 0xff) << 8, ...free.slice(0, 2))}`,
      `2002:${hex(high, low, ...free)}`, // 6to4, RFC 3056
      `2001:0:${hex(high, low, free[0]!, free[1]!, ~high & 0xffff, ~low & 0xffff)}`, // Teredo, RFC 4380 4
      `${site}:${hex(...free.slice(1, 4))}:${isatap.toString(16)}:5efe:${tail}`, // ISATAP, RFC 5214 6.1
      `fe80::${isatap.toString(16)}:5efe:${tail}`,
    )
  })
