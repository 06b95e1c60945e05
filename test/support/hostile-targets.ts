// Lists of URLs with which a stranger may attack a server, each with its expected verdict. Nothing runs here.

/** Addresses of the "public" server in the tests' own network. They are global unicast, so fetching from them is allowed. */
export const PUBLIC_V4 = '93.184.216.34'
export const PUBLIC_V6 = '2606:2800:220:1::1'
/** The public server by way of NAT64 (RFC 6052). */
export const PUBLIC_NAT64 = '64:ff9b::5db8:d822'
export const PUBLIC_URL = `http://${PUBLIC_V4}`

/** On the inside, only OPEN_INSIDE listens at this port. Everywhere else the port is closed. */
export const INSIDE_PORT = 8443
export const OPEN_INSIDE = '127.0.0.2'
export const CLOSED_INSIDE = '127.0.0.3'

export type Verdict = 'sealed' | 'BAD_URL' | 'FORBIDDEN_TARGET' | 'NAME_NOT_RESOLVED' | 'CONNECT_FAILED'

export interface HostileTarget {
  readonly url: string
  readonly verdict: Verdict
  /** The `address port` that the attack is after: a server that allows everything dials it. */
  readonly after?: string
  /** @default 0 for BAD_URL, else 1 */
  readonly attempts?: number
}

/** Ways to spell one address that a browser, a resolver or inet_aton understands. */
const spellingsV4: Record<string, string[]> = {
  '127.0.0.1': [
    '127.0.0.1',
    '127.0.0.1.',
    '127.1',
    '127.1.',
    '127.0.1',
    '2130706433',
    '0x7f000001',
    '0X7F.1',
    '0x7f.0x0.0x0.0x1',
    '017700000001',
    '0177.0.0.01',
    '00000177.0.0.00000001',
    '127.0x0.00.1',
    '１２７．０．０．１',
    '①②⑦.⓪.⓪.①',
    '127。0。0。1',
    '127．0｡0．1',
    '%31%32%37.0.0.1',
    '127%2e0%2E0%2e1',
    '127.0.0\u00ad.1',
    '𝟏𝟐𝟕.𝟎.𝟎.𝟏',
    '127.0.0.1:80',
    '127.0.0.1:080',
  ],
  '169.254.169.254': [
    '169.254.169.254',
    '169.254.43518',
    '169.16689662',
    '2852039166',
    '0xa9fea9fe',
    '0xA9.0xFE.0xA9.0xFE',
    '025177524776',
    '0251.0376.0251.0376',
    '１６９．２５４．１６９．２５４',
    '①⑥⑨.②⑤④.①⑥⑨.②⑤④',
    '%31%36%39.254.169.254',
    '169.254.169.254.',
  ],
  '0.0.0.0': ['0', '0.0.0.0', '0x', '00', '0.0'],
}

const insideV4 = [
  '10.0.0.1',
  '100.64.0.1',
  '100.100.100.200',
  '127.255.255.254',
  '168.63.129.16',
  '169.254.170.2',
  '172.16.0.1',
  '172.31.255.254',
  '192.0.0.192',
  '192.0.2.1',
  '192.31.196.1',
  '192.52.193.1',
  '192.88.99.1',
  '192.168.1.1',
  '192.175.48.1',
  '198.18.0.1',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
]

/** Key: how a URL spells the address. Value: how it is dialled. */
const insideV6: Record<string, string> = {
  '::': '::',
  '::1': '::1',
  '0:0:0:0:0:0:0:1': '::1',
  '0000:0000:0000:0000:0000:0000:0000:0001': '::1',
  '::ffff:127.0.0.1': '::ffff:7f00:1',
  '::FFFF:7F00:1': '::ffff:7f00:1',
  '0:0:0:0:0:ffff:127.0.0.1': '::ffff:7f00:1',
  '::ffff:169.254.169.254': '::ffff:a9fe:a9fe',
  '::ffff:93.184.216.34': '::ffff:5db8:d822',
  '::127.0.0.1': '::7f00:1',
  '::ffff:0:127.0.0.1': '::ffff:0:7f00:1',
  '64:ff9b::7f00:1': '64:ff9b::7f00:1',
  '64:ff9b::169.254.169.254': '64:ff9b::a9fe:a9fe',
  '0064:FF9B:0:0:0:0:A00:1': '64:ff9b::a00:1',
  '64:ff9b::100.100.100.200': '64:ff9b::6464:64c8',
  '64:ff9b::168.63.129.16': '64:ff9b::a83f:8110',
  '64:ff9b::c0a8:101': '64:ff9b::c0a8:101',
  '64:ff9b::1:5db8:d822': '64:ff9b::1:5db8:d822',
  '64:ff9b:0:1::93.184.216.34': '64:ff9b:0:1::5db8:d822',
  '64:ff9b:1::93.184.216.34': '64:ff9b:1::5db8:d822',
  '64:ff9b:1::a9fe:a9fe': '64:ff9b:1::a9fe:a9fe',
  '64:ff9b:1:7f00:0:100::': '64:ff9b:1:7f00:0:100::',
  '2002:7f00:1::1': '2002:7f00:1::1',
  '2002:a9fe:a9fe::': '2002:a9fe:a9fe::',
  '2001:0:7f00:1::': '2001:0:7f00:1::',
  '2001:0:4136:e378:8000:63bf:80ff:fffe': '2001:0:4136:e378:8000:63bf:80ff:fffe',
  '2606:2800:220:1:0:5efe:7f00:1': '2606:2800:220:1:0:5efe:7f00:1',
  '2606:2800:220:1:200:5efe:127.0.0.1': '2606:2800:220:1:200:5efe:7f00:1',
  'fd00:ec2::254': 'fd00:ec2::254',
  'fd20:ce::254': 'fd20:ce::254',
  'fd00:42::42': 'fd00:42::42',
  'fc00::1': 'fc00::1',
  'fe80::1': 'fe80::1',
  'fec0::1': 'fec0::1',
  'ff02::1': 'ff02::1',
  '100::1': '100::1',
  '2001:db8::1': '2001:db8::1',
  '2001:10::1': '2001:10::1',
  '3fff::1': '3fff::1',
  '4000::1': '4000::1',
  '5f00::1': '5f00::1',
}

const forbidden = (url: string, after?: string): HostileTarget => ({
  url,
  verdict: 'FORBIDDEN_TARGET',
  ...(after && { after }),
})

export const addresses: readonly HostileTarget[] = [
  ...Object.entries(spellingsV4).flatMap(([address, spellings]) =>
    spellings.map((spelling) => forbidden(`http://${spelling}/`, `${address} 80`)),
  ),
  forbidden('http:127.0.0.1/a', '127.0.0.1 80'),
  forbidden('http:\\\\127.0.0.1\\a', '127.0.0.1 80'),
  forbidden('http:////127.0.0.1/a', '127.0.0.1 80'),
  forbidden('https://127.0.0.1/', '127.0.0.1 443'),
  forbidden('https://[::1]/', '::1 443'),
  ...insideV4.map((address) => forbidden(`http://${address}/latest/meta-data/`, `${address} 80`)),
  ...Object.entries(insideV6).map(([spelling, address]) => forbidden(`http://[${spelling}]/`, `${address} 80`)),
]

export const FORBIDDEN_PORTS = [
  1, 21, 22, 23, 25, 53, 110, 143, 389, 445, 587, 993, 2375, 3306, 5432, 6379, 9200, 11211, 27017, 65535,
]
export const ports: readonly HostileTarget[] = [
  ...FORBIDDEN_PORTS.map((port) => forbidden(`${PUBLIC_URL}:${port}/`, `${PUBLIC_V4} ${port}`)),
  forbidden(`http://[${PUBLIC_V6}]:6379/`, `${PUBLIC_V6} 6379`),
  forbidden(`https://${PUBLIC_V4}:25/`, `${PUBLIC_V4} 25`),
  forbidden('http://public.test:11211/stats', `${PUBLIC_V4} 11211`),
  forbidden(`${PUBLIC_URL}:0/`),
]

/** URLs that are not a source at all, and URLs that lead to the public server although they look otherwise. */
export const notations: readonly HostileTarget[] = [
  ...[
    'file:///etc/passwd',
    'file://127.0.0.1/etc/passwd',
    'ftp://127.0.0.1/',
    'gopher://127.0.0.1:6379/_FLUSHALL',
    'dict://127.0.0.1:11211/stats',
    'ldap://127.0.0.1/',
    'tftp://127.0.0.1/x',
    'ws://127.0.0.1/',
    'unix:///var/run/docker.sock',
    'http+unix://%2Fvar%2Frun%2Fdocker.sock/info',
    'javascript:fetch("http://127.0.0.1/")',
    'data:text/plain,x',
    'blob:http://127.0.0.1/x',
    'view-source:http://127.0.0.1/',
    'jar:http://127.0.0.1/!/',
    'about:blank',
    '//127.0.0.1/',
    '127.0.0.1',
    '/etc/passwd',
    '',
    'http://',
    'http://127.0.0.257/',
    'http://4294967296/',
    'http://127.0.0.1.1/',
    'http://0x7f.0.0.0x1000/',
    'http://[fe80::1%25lo]/',
    'http://[fe80::1%lo]/',
    'http://[::1%251]/',
    'http://[::1/',
    'http://[127.0.0.1]/',
    'http://::1/',
    'http://127.0.0.1%00/',
    'http://127.0.0.1%20/',
    'http://127.0.0.1:65536/',
    'http://127.0.0.1:80:80/',
    'http://user@127.0.0.1/',
    'http://user:pass@127.0.0.1/',
    `${PUBLIC_URL}@127.0.0.1/`,
    `http://127.0.0.1%2f@${PUBLIC_V4}/`,
    `http://127.0.0.1:80@${PUBLIC_V4}:80/`,
    `${PUBLIC_URL}:80\\@@127.0.0.1:6379/\n`,
    `${PUBLIC_URL}/ HTTP/1.1\r\nX-Injected: 1\r\n\r\nGET /`,
    `${PUBLIC_URL}/\nX-Injected: 1`,
    `http://${PUBLIC_V4}\r\nX-Injected: 1/`,
    `http://${PUBLIC_V4}%0d%0aX-Injected:1/`,
    `${PUBLIC_URL}/\tx`,
    `${PUBLIC_URL}/\0`,
  ].map((url): HostileTarget => ({ url, verdict: 'BAD_URL' })),
  ...[
    `${PUBLIC_URL}/`,
    `${PUBLIC_URL}:8080/`,
    `http://[${PUBLIC_V6}]/`,
    `http://[${PUBLIC_NAT64}]/`,
    `http://[64:ff9b::${PUBLIC_V4}]/`,
    `http://0x5db8d822/`,
    `${PUBLIC_URL}/#@127.0.0.1/`,
    `${PUBLIC_URL}\\@127.0.0.1/`,
    `${PUBLIC_URL}?@127.0.0.1/`,
    `${PUBLIC_URL}/%0d%0aX-Injected:%201%0d%0a%0d%0aGET%20/`,
    `${PUBLIC_URL}/?a=%0d%0aX-Injected:%201`,
    `${PUBLIC_URL}/?a=\u010d\u010aX-Injected: 1`,
    `${PUBLIC_URL}/ HTTP/1.1 X-Injected: 1`,
    `${PUBLIC_URL}/\u2028X-Injected: 1\u0085`,
    `${PUBLIC_URL}/http://127.0.0.1/`,
    `${PUBLIC_URL}/..%2f..%2f127.0.0.1/`,
  ].map((url): HostileTarget => ({ url, verdict: 'sealed' })),
]

/** The n-th question for a name gets its n-th row of answers. The last row repeats. */
export const NAMES: Readonly<Record<string, readonly (readonly string[])[]>> = {
  localhost: [['127.0.0.1', '::1']],
  'public.test': [[PUBLIC_V4]],
  'private.test': [['10.0.0.1']],
  'metadata.test': [['169.254.169.254', 'fd00:ec2::254']],
  'inside-v6.test': [['::1', 'fd00::1', '64:ff9b::7f00:1', '2002:7f00:1::1']],
  'nat64.test': [['64:ff9b::7f00:1', '64:ff9b:1::5db8:d822', PUBLIC_NAT64]],
  'nat64-inside.test': [['64:ff9b::a00:1', '64:ff9b::a9fe:a9fe', '64:ff9b:1::5db8:d822']],
  'rebinds-behind-nat64.test': [[PUBLIC_NAT64], ['64:ff9b::a9fe:a9fe']],
  'mapped.test': [['::ffff:127.0.0.1', '::ffff:93.184.216.34', '::7f00:1']],
  'mixed.test': [['10.0.0.1', PUBLIC_V4, '169.254.169.254', '::1', PUBLIC_V6, '::ffff:127.0.0.1']],
  'mixed-closed.test': [[OPEN_INSIDE, PUBLIC_V4, '::1']],
  'open-inside.test': [[OPEN_INSIDE]],
  'closed-inside.test': [[CLOSED_INSIDE]],
  'rebinds-between-hops.test': [[PUBLIC_V4], ['10.0.0.1']],
  'rebinds-at-another-port.test': [[PUBLIC_V4], ['169.254.169.254']],
  'rebinds-between-attempts.test': [[PUBLIC_V4], ['127.0.0.1']],
  'rebinds-to-v6.test': [[PUBLIC_V4], ['::1']],
}

/** URL at which the public server redirects to `location`. `status` is one of the five that are followed. */
export function redirectTo(location: string, status = 302, from = PUBLIC_URL): string {
  return `${from}/redirect/${status}/${Buffer.from(location, 'latin1').toString('base64url')}`
}

export const names: readonly HostileTarget[] = [
  forbidden('http://localhost/', '127.0.0.1 80'),
  forbidden('http://LOCALHOST/'),
  forbidden('http://ｌｏｃａｌｈｏｓｔ/'),
  forbidden('http://localhost./'),
  forbidden('http://private.test/', '10.0.0.1 80'),
  forbidden('http://PRIVATE.test./'),
  forbidden('http://metadata.test/latest/meta-data/', '169.254.169.254 80'),
  forbidden('http://inside-v6.test/', '::1 80'),
  forbidden('http://mapped.test/'),
  forbidden('http://nat64-inside.test/', '64:ff9b::a00:1 80'),
  forbidden('http://rebinds-behind-nat64.test/again/here', '64:ff9b::a9fe:a9fe 80'),
  { url: 'http://nat64.test/', verdict: 'sealed' },
  forbidden('https://private.test/', '10.0.0.1 443'),
  forbidden('http://rebinds-between-hops.test/again/here', '10.0.0.1 80'),
  forbidden('http://rebinds-at-another-port.test/to-port/8080', '169.254.169.254 8080'),
  { ...forbidden('http://rebinds-between-attempts.test/503', '127.0.0.1 80'), attempts: 2 },
  { ...forbidden('http://rebinds-to-v6.test/cut', '::1 80'), attempts: 2 },
  { url: 'http://public.test/', verdict: 'sealed' },
  { url: 'http://mixed.test/', verdict: 'sealed' },
  // Its only public address refuses the connection. The other addresses must not be tried for that.
  { url: `http://mixed-closed.test:${INSIDE_PORT}/`, verdict: 'CONNECT_FAILED', attempts: 2 },
  { url: 'http://nowhere.test/', verdict: 'NAME_NOT_RESOLVED', attempts: 2 },
]

const FOLLOWED = [301, 302, 303, 307, 308] as const
const locationsInside: [location: string, after?: string][] = [
  ...spellingsV4['169.254.169.254']!.map((spelling): [string, string] => [
    `http://${encodeURI(spelling).replaceAll('%25', '%')}/`,
    '169.254.169.254 80',
  ]),
  ['//127.0.0.1/', '127.0.0.1 80'],
  ['///127.0.0.1/', '127.0.0.1 80'],
  ['\\\\127.0.0.1\\', '127.0.0.1 80'],
  ['/\\127.0.0.1/', '127.0.0.1 80'],
  ['http:\\\\0x7f.1/', '127.0.0.1 80'],
  ['https:127.0.0.1/', '127.0.0.1 443'],
  ['http://127\t.0.0.1/', '127.0.0.1 80'],
  [' http://127.0.0.1/ ', '127.0.0.1 80'],
  ['http://10.0.0.1/', '10.0.0.1 80'],
  ['http://[::1]/', '::1 80'],
  ['http://[::ffff:127.0.0.1]/', '::ffff:7f00:1 80'],
  ['http://[64:ff9b::7f00:1]/', '64:ff9b::7f00:1 80'],
  ['http://[64:ff9b::169.254.169.254]/', '64:ff9b::a9fe:a9fe 80'],
  ['//nat64-inside.test/', '64:ff9b::a00:1 80'],
  ['http://[fd00:ec2::254]/', 'fd00:ec2::254 80'],
  ['http://100.100.100.200/', '100.100.100.200 80'],
  ['http://168.63.129.16/', '168.63.129.16 80'],
  ['http://localhost/', '127.0.0.1 80'],
  ['http://private.test/', '10.0.0.1 80'],
  [`${PUBLIC_URL}:22/`, `${PUBLIC_V4} 22`],
  ['//public.test:25/', `${PUBLIC_V4} 25`],
  [redirectTo('http://127.0.0.1/'), '127.0.0.1 80'],
  ['file:///etc/passwd'],
  ['ftp://127.0.0.1/'],
  ['gopher://127.0.0.1:6379/_FLUSHALL'],
  ['javascript:alert(1)'],
  ['data:text/plain,x'],
  ['http://user:pass@127.0.0.1/'],
  [`http://user:pass@${PUBLIC_V4}/`],
  [`${PUBLIC_URL}@127.0.0.1/`],
  ['http://127.0.0.257/'],
  ['http://[fe80::1%25lo]/'],
  ['http://'],
]

export const redirects: readonly HostileTarget[] = [
  ...locationsInside.map(([location, after], index) =>
    forbidden(redirectTo(location, FOLLOWED[index % FOLLOWED.length]!), after),
  ),
  ...FOLLOWED.map((status) => forbidden(redirectTo('http://127.0.0.1/', status), '127.0.0.1 80')),
  ...[
    // This looks like a port, but is a path.
    '/:6379/',
    `http://public.test/`,
    `http://[${PUBLIC_V6}]/`,
    '/ü\\%0d%0aX-Injected:%201',
    `${PUBLIC_URL}/\r\nX-Injected: 1`,
    `${PUBLIC_URL}/\r\n\r\nGET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1`,
    redirectTo('http://public.test:8080/'),
  ].map((location): HostileTarget => ({ url: redirectTo(location), verdict: 'sealed' })),
]

/** The same targets twice: once with an open port, once with a closed one. A client must not see a difference. */
export const openAndClosed: readonly HostileTarget[] = [OPEN_INSIDE, CLOSED_INSIDE].flatMap((address) => [
  forbidden(`http://${address}:${INSIDE_PORT}/`, `${address} ${INSIDE_PORT}`),
  forbidden(`https://${address}:${INSIDE_PORT}/`, `${address} ${INSIDE_PORT}`),
  forbidden(redirectTo(`http://${address}:${INSIDE_PORT}/`), `${address} ${INSIDE_PORT}`),
  forbidden(`http://${address === OPEN_INSIDE ? 'open' : 'closed'}-inside.test:${INSIDE_PORT}/`),
])

/** Harmless targets, one of which breaks off once: they show which requests are sent. */
export const plain: readonly HostileTarget[] = [
  { url: `${PUBLIC_URL}/cut-once`, verdict: 'sealed' },
  { url: redirectTo('http://public.test:8080/after/a/hop', 307, 'http://public.test'), verdict: 'sealed' },
]

export const hostileTargets: readonly HostileTarget[] = [
  ...addresses,
  ...ports,
  ...notations,
  ...names,
  ...redirects,
  ...openAndClosed,
  ...plain,
]
