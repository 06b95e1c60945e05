// Decides whether a literal IP address may be dialled on a port. No names, no DNS, no I/O.
import ipaddr from 'ipaddr.js'

type AddressVerdict = 'allowed' | 'forbidden'

interface Prefix {
  /** 4 or 16 bytes in network order. */
  readonly network: readonly number[]
  readonly bits: number
}

/** Addresses that an operator allows or denies regardless of the tables below. `port: null` means every port. */
export interface AllowRule extends Prefix {
  readonly port: number | null
}

export interface AddressPolicy {
  readonly allowedPorts: ReadonlySet<number>
  readonly allow: readonly AllowRule[]
  /** Never dialled, even if public or allowed. @default none */
  readonly deny?: readonly AllowRule[]
}

/** The bytes of a canonical literal. Null for octal, hexadecimal and short spellings: systems read them differently. */
function parseAddress(text: string): readonly number[] | null {
  if (!text.includes(':')) return ipaddr.IPv4.isValidFourPartDecimal(text) ? ipaddr.IPv4.parse(text).octets : null
  const tail = text.slice(text.lastIndexOf(':') + 1)
  if (tail.includes('.') && !ipaddr.IPv4.isValidFourPartDecimal(tail)) return null
  return ipaddr.IPv6.isValid(text) ? ipaddr.IPv6.parse(text).toByteArray() : null
}

/** A plain address counts as a prefix of full length. Null if the text is not a prefix, or has host bits set. */
function parsePrefix(text: string): Prefix | null {
  const [, address = '', length] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const network = parseAddress(address)
  if (network === null) return null
  const bits = length === undefined ? network.length * 8 : Number(length)
  if (bits > network.length * 8) return null
  const hostBits = network.some((byte, index) => (byte & (0xff >> Math.min(Math.max(bits - index * 8, 0), 8))) !== 0)
  return hostBits ? null : { network, bits }
}

function contains({ network, bits }: Prefix, address: readonly number[]): boolean {
  if (network.length !== address.length) return false
  const whole = bits >> 3
  for (let index = 0; index < whole; index++) if (network[index] !== address[index]) return false
  const rest = bits & 7
  return rest === 0 || (network[whole]! ^ address[whole]!) >> (8 - rest) === 0
}

function table(...rows: string[]): readonly Prefix[] {
  return rows.map((row) => parsePrefix(row)!)
}

/** The IANA IPv4 Special-Purpose Address Registry (RFC 6890), and other ranges that hold no public servers. */
const forbiddenV4 = table(
  '0.0.0.0/8', // "this network", RFC 791 3.2
  '10.0.0.0/8', // private, RFC 1918
  '100.64.0.0/10', // carrier-grade NAT, RFC 6598; holds 100.100.100.200, the metadata of Alibaba Cloud
  '127.0.0.0/8', // loopback, RFC 1122 3.2.1.3
  '168.63.129.16', // looks public, but is the host of every Azure machine: its metadata and DNS
  '169.254.0.0/16', // link local, RFC 3927; holds the metadata of most clouds
  '172.16.0.0/12', // private, RFC 1918
  '192.0.0.0/24', // IETF protocol assignments, RFC 6890 2.1; holds 192.0.0.192, the metadata of Oracle Cloud Classic
  '192.0.2.0/24', // documentation TEST-NET-1, RFC 5737
  '192.31.196.0/24', // AS112, RFC 7535
  '192.52.193.0/24', // AMT, RFC 7450
  '192.88.99.0/24', // 6to4 relays and 6a44, RFC 7526 and RFC 6751
  '192.168.0.0/16', // private, RFC 1918
  '192.175.48.0/24', // AS112, RFC 7534
  '198.18.0.0/15', // benchmarking, RFC 2544
  '198.51.100.0/24', // documentation TEST-NET-2, RFC 5737
  '203.0.113.0/24', // documentation TEST-NET-3, RFC 5737
  '224.0.0.0/4', // multicast, RFC 5771
  '240.0.0.0/4', // reserved, RFC 1112 4; holds limited broadcast, RFC 919
)

/**
 * Only 2000::/3 is assigned as global unicast (RFC 4291 2.4, IANA IPv6 Global Unicast Address Assignments). Everything
 * outside of it but `nat64` is refused: unspecified, loopback, IPv4-compatible and IPv4-mapped ::/8 (RFC 4291 2.5), local NAT64
 * 64:ff9b:1::/48 (RFC 8215), discard and dummy 100::/63 (RFC 6666, RFC 9780), segment
 * routing 5f00::/16 (RFC 9602), unique local fc00::/7 (RFC 4193; holds the metadata of EC2 fd00:ec2::254, Google
 * fd20:ce::254 and Scaleway fd00:42::42), link local fe80::/10, site local fec0::/10 (RFC 3879), multicast ff00::/8.
 */
const globalUnicastV6 = parsePrefix('2000::/3')!

/**
 * Leads to the IPv4 address in its last four bytes (RFC 6052 2.1). In a network of IPv6 alone, DNS64 makes such addresses of all
 * names that have only an IPv4 address (RFC 6147).
 */
const nat64 = parsePrefix('64:ff9b::/96')!

/** The part of the IANA IPv6 Special-Purpose Address Registry that lies in 2000::/3. */
const forbiddenV6 = table(
  '2001::/23', // IETF protocol assignments, RFC 2928: Teredo, benchmarking, AMT, AS112, ORCHID, drone ids
  '2001:db8::/32', // documentation, RFC 3849
  '2002::/16', // 6to4 embeds an IPv4 address, RFC 3056
  '2620:4f:8000::/48', // AS112, RFC 7534
  '3fff::/20', // documentation, RFC 9637
)

/** ISATAP embeds an IPv4 address after 00-00-5E-FE. The universal and group bits may be anything (RFC 5214 6.1). */
function isIsatap(address: readonly number[]): boolean {
  return (address[8]! & 0xfc) === 0 && address[9] === 0 && address[10] === 0x5e && address[11] === 0xfe
}

/**
 * Prefixes that embed an IPv4 address, from byte `at`: mapped and compatible (RFC 4291 2.5.5), NAT64 (RFC 6052), 6to4
 * (RFC 3056).
 */
const embeddings: readonly { prefix: Prefix; at: number }[] = [
  { prefix: parsePrefix('::ffff:0:0/96')!, at: 12 },
  { prefix: parsePrefix('::/96')!, at: 12 },
  { prefix: nat64, at: 12 },
  { prefix: parsePrefix('2002::/16')!, at: 2 },
]

/** All spellings that lead to the same target. A deny rule that matches one of them closes them all. */
function spellingsOf(address: readonly number[]): (readonly number[])[] {
  if (address.length === 4) {
    const mapped = [...embeddings[0]!.prefix.network.slice(0, 12), ...address]
    return [address, mapped]
  }
  const embedded = embeddings.filter(({ prefix }) => contains(prefix, address))
  return [address, ...embedded.flatMap(({ at }) => spellingsOf(address.slice(at, at + 4)))]
}

function isGlobalUnicast(address: readonly number[]): boolean {
  if (address.length === 4) return !forbiddenV4.some((prefix) => contains(prefix, address))
  if (contains(nat64, address)) return isGlobalUnicast(address.slice(12))
  if (!contains(globalUnicastV6, address) || isIsatap(address)) return false
  return !forbiddenV6.some((prefix) => contains(prefix, address))
}

/**
 * The verdict on one connection. `address` is a literal as a resolver or a WHATWG URL spells it. An IPv6 address may
 * have brackets or a zone; the zone is ignored. A deny rule overrides everything, in whatever spelling the address is
 * given. An allow rule overrides the tables and the list of ports, but only for its own family: it does not allow an
 * IPv6 spelling of an IPv4 address. Text that is not an address is forbidden.
 */
export function judgeAddress(address: string, port: number, policy: AddressPolicy): AddressVerdict {
  const bracketed = address.startsWith('[') && address.endsWith(']') && address.includes(':')
  const literal = bracketed ? address.slice(1, -1) : address
  const zoneAt = literal.includes(':') ? literal.indexOf('%') : -1
  const bytes = parseAddress(zoneAt === -1 ? literal : literal.slice(0, zoneAt))
  if (bytes === null || !isPort(port)) return 'forbidden'
  const names = (spelling: readonly number[]) => (rule: AllowRule) =>
    (rule.port === null || rule.port === port) && contains(rule, spelling)
  const { allow, deny = [] } = policy
  if (deny.length > 0 && spellingsOf(bytes).some((spelling) => deny.some(names(spelling)))) return 'forbidden'
  if (allow.some(names(bytes))) return 'allowed'
  return policy.allowedPorts.has(port) && isGlobalUnicast(bytes) ? 'allowed' : 'forbidden'
}

/** True if no address may be dialled on this port. That much is known even before a name is resolved. */
export function isPortClosed(port: number, { allowedPorts, allow }: AddressPolicy): boolean {
  return !allowedPorts.has(port) && !allow.some((rule) => rule.port === null || rule.port === port)
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535
}

/**
 * Reads `ip:port`, `[ipv6]:port`, `ip` and CIDR, separated by commas.
 * @throws an error that names the first item that is none of these
 */
export function parseAllowList(text: string): AllowRule[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
    .map(parseAllowRule)
}

function parseAllowRule(item: string): AllowRule {
  const [, v6, v4, digits] = /^(?:\[([^\]/]+)\]|([^:/]+)):(\d{1,5})$/.exec(item) ?? []
  const address = v6 ?? v4
  const prefix = parsePrefix(address ?? item)
  const port = digits === undefined ? null : Number(digits)
  const isFamilyRight = v6 === undefined || v6.includes(':')
  if (prefix === null || !isFamilyRight || (port !== null && !isPort(port))) {
    throw new Error(`"${item}" is not an ip, ip:port, [ipv6]:port or CIDR without host bits`)
  }
  return { ...prefix, port }
}
