// The verdict on addresses and ports: a table of ranges with the neighbours just outside, and properties.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type AddressPolicy, judgeAddress, parseAllowList } from '../../../server/fetch/address.ts'
import { embeddings, spelledAddresses } from '../../support/spellings.ts'

function policyOf(allow = ''): AddressPolicy {
  return { allowedPorts: new Set([80, 443]), allow: parseAllowList(allow) }
}

const strict = policyOf()

describe('an operator who denies addresses', () => {
  const policy = {
    ...policyOf('10.0.0.0/8'),
    deny: parseAllowList('10.1.0.0/16, 8.8.8.8, 9.9.9.9:443, 2001:4860::/32'),
  }

  it.each([
    ['10.1.2.3', 80, 'forbidden'],
    ['10.2.2.3', 80, 'allowed'],
    ['8.8.8.8', 443, 'forbidden'],
    ['8.8.8.9', 443, 'allowed'],
    ['::ffff:8.8.8.8', 443, 'forbidden'],
    ['9.9.9.9', 443, 'forbidden'],
    ['9.9.9.9', 80, 'allowed'],
    ['2001:4860:4860::8888', 443, 'forbidden'],
    ['[2001:4860:0:0:0:0:0:1]', 443, 'forbidden'],
    ['2001:4861::1', 443, 'allowed'],
  ] as const)('makes %s port %i %s, even if it is public or allowed', (address, port, verdict) => {
    expect(judgeAddress(address, port, policy)).toBe(verdict)
  })
})

it('denying an address denies its embeddings, and the other way round, whatever else is allowed', () => {
  const open = { ...policyOf('::/0, 0.0.0.0/0'), deny: parseAllowList('8.8.8.8, 10.1.2.3:443, ::ffff:9.9.9.0/120') }
  for (const form of ['::ffff:8.8.8.8', '[::ffff:808:808]', '::8.8.8.8', '64:ff9b::8.8.8.8', '2002:808:808::1']) {
    expect([form, judgeAddress(form, 443, open)]).toEqual([form, 'forbidden'])
  }
  expect(judgeAddress('::ffff:8.8.8.9', 443, open)).toBe('allowed')
  expect(judgeAddress('::ffff:10.1.2.3', 443, open)).toBe('forbidden')
  expect(judgeAddress('::ffff:10.1.2.3', 80, open)).toBe('allowed')
  expect(judgeAddress('9.9.9.9', 443, open)).toBe('forbidden')
  expect(judgeAddress('64:ff9b::9.9.9.9', 443, open)).toBe('forbidden')
})

/** Each range: the address before it, its first, its last, and the one after it. Null if the neighbour is special, too. */
const rangesV4: [before: string | null, first: string, last: string, after: string | null][] = [
  [null, '0.0.0.0', '0.255.255.255', '1.0.0.0'],
  ['9.255.255.255', '10.0.0.0', '10.255.255.255', '11.0.0.0'],
  ['100.63.255.255', '100.64.0.0', '100.127.255.255', '100.128.0.0'],
  ['126.255.255.255', '127.0.0.0', '127.255.255.255', '128.0.0.0'],
  ['168.63.129.15', '168.63.129.16', '168.63.129.16', '168.63.129.17'],
  ['169.253.255.255', '169.254.0.0', '169.254.255.255', '169.255.0.0'],
  ['172.15.255.255', '172.16.0.0', '172.31.255.255', '172.32.0.0'],
  ['191.255.255.255', '192.0.0.0', '192.0.0.255', '192.0.1.0'],
  ['192.0.1.255', '192.0.2.0', '192.0.2.255', '192.0.3.0'],
  ['192.31.195.255', '192.31.196.0', '192.31.196.255', '192.31.197.0'],
  ['192.52.192.255', '192.52.193.0', '192.52.193.255', '192.52.194.0'],
  ['192.88.98.255', '192.88.99.0', '192.88.99.255', '192.88.100.0'],
  ['192.167.255.255', '192.168.0.0', '192.168.255.255', '192.169.0.0'],
  ['192.175.47.255', '192.175.48.0', '192.175.48.255', '192.175.49.0'],
  ['198.17.255.255', '198.18.0.0', '198.19.255.255', '198.20.0.0'],
  ['198.51.99.255', '198.51.100.0', '198.51.100.255', '198.51.101.0'],
  ['203.0.112.255', '203.0.113.0', '203.0.113.255', '203.0.114.0'],
  ['223.255.255.255', '224.0.0.0', '239.255.255.255', null],
  [null, '240.0.0.0', '255.255.255.255', null],
]

const rangesV6: [before: string | null, first: string, last: string, after: string | null][] = [
  [null, '::', '1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2000::'],
  ['2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2001::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff', '2001:200::'],
  ['2001:db7:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db9::'],
  ['2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2003::'],
  [
    '2620:4f:7fff:ffff:ffff:ffff:ffff:ffff',
    '2620:4f:8000::',
    '2620:4f:8000:ffff:ffff:ffff:ffff:ffff',
    '2620:4f:8001::',
  ],
  ['3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff', '3fff:1000::'],
  ['3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '4000::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', null],
]

describe('judgeAddress', () => {
  it.each([...rangesV4, ...rangesV6])(
    'refuses the first and last address of each special range and accepts its neighbours: %s | %s - %s | %s',
    (before, first, last, after) => {
      const inside = [first, last].map((address) => judgeAddress(address, 443, strict))
      const outside = [before, after].flatMap((address) =>
        address === null ? [] : [judgeAddress(address, 443, strict)],
      )
      expect(inside).toEqual(['forbidden', 'forbidden'])
      expect(new Set([...outside, 'allowed'])).toEqual(new Set(['allowed']))
    },
  )

  it.each([
    ['the metadata of most clouds', '169.254.169.254'],
    ['the metadata of ECS tasks', '169.254.170.2'],
    ['the host of Azure machines', '168.63.129.16'],
    ['the metadata of Alibaba Cloud', '100.100.100.200'],
    ['the metadata of Oracle Cloud Classic', '192.0.0.192'],
    ['the metadata of EC2 over IPv6', 'fd00:ec2::254'],
    ['the metadata of Google Cloud over IPv6', 'fd20:ce::254'],
    ['the metadata of Scaleway over IPv6', 'fd00:42::42'],
    ['IPv6 loopback', '::1'],
    ['link local with a zone', 'fe80::1%eth0'],
    ['site local', 'fec0::1'],
    ['multicast', 'ff02::1'],
    ['the discard prefix', '100::1'],
    ['the dummy prefix', '100:0:0:1::1'],
    ['segment routing', '5f00::1'],
    ['IPv4-mapped', '::ffff:8.8.8.8'],
    ['IPv4-mapped in hexadecimal', '::ffff:808:808'],
    ['IPv4-compatible', '::8.8.8.8'],
    ['IPv4-translated', '::ffff:0:8.8.8.8'],
    ['NAT64 of loopback', '64:ff9b::127.0.0.1'],
    ['NAT64 of a private address', '64:ff9b::a00:1'],
    ['NAT64 of the metadata of most clouds', '64:ff9b::169.254.169.254'],
    ['NAT64 of the metadata of Alibaba Cloud', '64:ff9b::6464:64c8'],
    ['NAT64 of the host of Azure machines', '64:ff9b::168.63.129.16'],
    ['NAT64 of no address', '64:ff9b::'],
    ['NAT64 of multicast', '64:ff9b::224.0.0.1'],
    ['NAT64 of broadcast', '64:ff9b::ffff:ffff'],
    ['what only looks like NAT64: bits between prefix and address', '64:ff9b::1:808:808'],
    ['what only looks like NAT64: bits behind the first two groups', '64:ff9b:0:1::808:808'],
    ['the neighbour of NAT64 below', '64:ff9a:ffff:ffff:ffff:ffff:808:808'],
    ['local NAT64', '64:ff9b:1::8.8.8.8'],
    ['6to4', '2002:808:808::1'],
    ['Teredo', '2001:0:4136:e378:8000:63bf:3fff:fdd2'],
    ['ORCHID', '2001:10::1'],
    ['ISATAP', '2606:4700::5efe:808:808'],
    ['ISATAP, universal', '2606:4700::200:5efe:808:808'],
    ['ISATAP, group', '2606:4700::100:5efe:808:808'],
  ])('refuses %s', (_what, address) => {
    expect(judgeAddress(address, 443, strict)).toBe('forbidden')
    expect(judgeAddress(`[${address}]`, 443, strict)).toBe('forbidden')
  })

  it.each([
    '8.8.8.8',
    '93.184.215.14',
    '223.255.255.254',
    '2606:4700::1111',
    '[2606:4700::1111]',
    '2606:4700::1111%2',
    '2a00:1450:4001:80b::200e',
    '2606:4700::400:5efe:808:808',
    '2606:4700::5eff:808:808',
    '64:ff9b::8.8.8.8',
    '64:ff9b::808:808',
    '64:ff9b:0:0:0:0:0808:0808',
    '[64:ff9b::808:808]',
    '64:ff9b::808:808%2',
  ])('accepts the public address %s', (address) => {
    expect(judgeAddress(address, 443, strict)).toBe('allowed')
  })

  it.each([
    '',
    ' ',
    '8.8.8',
    '134744072',
    '0x8.8.8.8',
    '010.8.8.8',
    '8.8.8.8.',
    '8.8.8.256',
    ' 8.8.8.8',
    '8.8.8.8%1',
    '[8.8.8.8]',
    '[2606:4700::1111',
    '2606:4700::1111]',
    '2606:4700:::1111',
    '2606:4700::010.8.8.8',
    '2606:4700::1::1',
    'example.org',
    '８.8.8.8',
  ])('refuses %j, which is not a literal in canonical spelling', (address) => {
    expect(judgeAddress(address, 443, policyOf('0.0.0.0/0, ::/0'))).toBe('forbidden')
  })

  it('opens only listed ports', () => {
    const verdicts = [80, 443, 22, 0, -1, 65_536, 443.5, Number.NaN].map((port) =>
      judgeAddress('8.8.8.8', port, strict),
    )
    expect(verdicts.map((verdict) => verdict === 'allowed')).toEqual([true, true, ...Array(6).fill(false)])
  })

  it.each([
    ['127.0.0.1:9000', '127.0.0.1', 9000, 'allowed'],
    ['127.0.0.1:9000', '127.0.0.1', 9001, 'forbidden'],
    ['127.0.0.1:9000', '127.0.0.1', 443, 'forbidden'],
    ['127.0.0.1:9000', '127.0.0.2', 9000, 'forbidden'],
    ['127.0.0.1:9000', '::ffff:127.0.0.1', 9000, 'forbidden'],
    ['127.0.0.1', '::ffff:7f00:1', 443, 'forbidden'],
    ['0.0.0.0/0', '::7f00:1', 443, 'forbidden'],
    ['0.0.0.0/0', '64:ff9b::7f00:1', 443, 'forbidden'],
    ['127.0.0.0/8, 10.0.0.0/8', '64:ff9b::a00:1', 443, 'forbidden'],
    ['8.8.8.8', '64:ff9b::808:808', 22, 'forbidden'],
    ['64:ff9b::/96', '64:ff9b::7f00:1', 22, 'allowed'],
    ['127.0.0.1', '127.0.0.1', 22, 'allowed'],
    ['8.8.8.8:22', '8.8.8.8', 22, 'allowed'],
    ['8.8.8.8:22', '8.8.8.8', 443, 'allowed'],
    ['10.1.2.0/23', '10.1.3.255', 1, 'allowed'],
    ['10.1.2.0/23', '10.1.4.0', 1, 'forbidden'],
    ['10.1.2.0/23', '10.1.1.255', 1, 'forbidden'],
    ['0.0.0.0/0', '255.255.255.255', 65_535, 'allowed'],
    ['0.0.0.0/0', '127.0.0.1', 0, 'forbidden'],
    ['[::1]:9000', '::1', 9000, 'allowed'],
    ['[::1]:9000', '[::1]', 9000, 'allowed'],
    ['[::1]:9000', '::1', 9001, 'forbidden'],
    ['::1', '127.0.0.1', 80, 'forbidden'],
    ['fd00::/9', 'fd7f::1', 22, 'allowed'],
    ['fd00::/9', 'fd80::1', 22, 'forbidden'],
    ['fe80::1', 'fe80::1%eth0', 22, 'allowed'],
    ['10.0.0.1:1, ,127.0.0.1:2,', '127.0.0.1', 2, 'allowed'],
  ] as const)('with %j allowed, %s port %i is %s', (allow, address, port, verdict) => {
    expect(judgeAddress(address, port, policyOf(allow))).toBe(verdict)
  })

  it('gives a verdict for any text and port, and never throws', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom(...'0123456789abcdefx:.%[]') }),
    )
    fc.assert(
      fc.property(text, fc.integer(), (address, port) =>
        /^(allowed|forbidden)$/.test(judgeAddress(address, port, strict)),
      ),
    )
  })

  it('gives every spelling of an IPv4 address in a URL the verdict of that address', () => {
    const policies = [strict, policyOf('127.0.0.0/8, 10.0.0.0/8'), policyOf('0.0.0.0/1')]
    fc.assert(
      fc.property(spelledAddresses, fc.constantFrom(80, 22), ({ address, spelling }, port) => {
        const { hostname } = new URL(`http://${spelling}/`)
        for (const policy of policies) {
          expect(judgeAddress(hostname, port, policy)).toBe(judgeAddress(address, port, policy))
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('judges NAT64 by the address inside, on every port, also by the edges of all ranges', () => {
    const inside = rangesV4.flatMap((range) => range.filter((address) => address !== null))
    for (const address of inside) {
      for (const port of [80, 22]) {
        expect([address, judgeAddress(`64:ff9b::${address}`, port, strict)]).toEqual([
          address,
          judgeAddress(address, port, strict),
        ])
      }
    }
    const denying = { ...strict, deny: parseAllowList('8.8.8.0/24, 64:ff9b::909:909') }
    for (const address of ['8.8.8.8', '9.9.9.9']) {
      expect(judgeAddress(`64:ff9b::${address}`, 443, denying)).toBe('forbidden')
    }
  })

  it('refuses every other IPv6 address that embeds an IPv4 address, even if that is public and all of IPv4 is allowed', () => {
    const policies = [strict, policyOf('0.0.0.0/0')]
    fc.assert(
      fc.property(embeddings, (address) => {
        const { hostname } = new URL(`http://[${address}]/`)
        for (const spelling of [address, hostname, hostname.slice(1, -1), `${address}%lo`]) {
          for (const policy of policies) expect([spelling, judgeAddress(spelling, 443, policy)]).toContain('forbidden')
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('gives every spelling of an IPv6 address the same verdict', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 }), (groups) => {
        const full = groups.map((group) => group.toString(16).padStart(4, '0')).join(':')
        const short = new URL(`http://[${full}]`).hostname
        const allowed = judgeAddress(full, 443, strict)
        expect(judgeAddress(short, 443, strict)).toBe(allowed)
        expect(judgeAddress(full.toUpperCase(), 443, strict)).toBe(allowed)
        if (groups[0]! >> 13 !== 1) expect(allowed).toBe('forbidden')
      }),
    )
  })
})

describe('parseAllowList', () => {
  it('reads nothing from an empty setting', () => {
    expect(parseAllowList(' ')).toEqual([])
  })

  it.each([
    'localhost',
    'localhost:80',
    '127.0.0.1:',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '127.0.0.1:-1',
    '127.1:80',
    '[127.0.0.1]:80',
    '[::1]',
    '[::1]:http',
    '[::1]/128',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.1/8',
    '10.128.0.0/8',
    '10.0.0.0/8:80',
    'fd00::1/8',
    'fe80::1%eth0',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '/8',
  ])('throws an error that names the unreadable item %j', (item) => {
    expect(() => parseAllowList(`127.0.0.1:80,${item}`)).toThrow(`"${item}"`)
  })
})
