// Who may talk to the server, by Host, Origin and Sec-Fetch-Site.
import { describe, expect, it } from 'vitest'
import { judgeRequest, type RequestFacts } from '../../../server/http/guards.ts'

const policy = {
  allowedHosts: new Set(['sheaf.example']),
  allowedOrigins: new Set(['https://app.example', 'http://localhost:5173']),
}

function judge(facts: Partial<RequestFacts>, isCall = true) {
  const verdict = judgeRequest(
    { host: 'localhost:8011', origin: undefined, fetchSite: undefined, scheme: null, ...facts },
    policy,
    isCall,
  )
  return verdict === 'ok' ? 'ok' : verdict.status
}

describe('judgeRequest', () => {
  it.each([
    'localhost',
    'localhost:8011',
    'LOCALHOST:8011',
    '127.0.0.1:8011',
    '192.168.1.5',
    '[::1]:8011',
    'sheaf.example',
    'Sheaf.Example:443',
  ])('takes the host %s', (host) => {
    expect(judge({ host })).toBe('ok')
  })

  it.each([
    undefined,
    '',
    'evil.example',
    'sheaf.example.evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'xsheaf.example',
    'a b',
    '[::1',
    'localhost:99999',
    'sheaf.example.',
  ])('refuses the host %s, also for a download', (host) => {
    expect(judge({ host })).toBe(421)
    expect(judge({ host }, false)).toBe(421)
  })

  it('does not accept a host because a prefix or a suffix of it is allowed', () => {
    expect(judge({ host: 'evil.example@localhost' })).toBe(421)
    expect(judge({ host: 'evil.example/localhost' })).toBe(421)
    expect(judge({ host: 'localhost/evil' })).toBe(421)
    expect(judge({ host: 'user@localhost' })).toBe(421)
    expect(judge({ host: 'localhost#x' })).toBe(421)
  })

  it.each([
    ['http://localhost:8011', 'localhost:8011'],
    ['http://LOCALHOST:8011', 'localhost:8011'],
    ['http://127.0.0.1:8011', '127.0.0.1:8011'],
    ['https://sheaf.example', 'sheaf.example'],
    ['https://app.example', 'localhost:8011'],
    ['http://localhost:5173', 'localhost:8011'],
  ])('takes the origin %s at %s, also across sites', (origin, host) => {
    expect(judge({ origin, host })).toBe('ok')
    expect(judge({ origin, host, fetchSite: 'cross-site' })).toBe('ok')
  })

  it.each([
    'http://localhost',
    'http://localhost:8012',
    'http://evil.example',
    'http://app.example',
    'https://app.example:444',
    'https://app.example.evil.example',
    'null',
    '',
    'file://',
  ])('refuses the origin %s', (origin) => {
    expect(judge({ origin })).toBe(403)
  })

  it.each([
    [undefined, true, 'ok'],
    ['same-origin', true, 'ok'],
    ['none', true, 'ok'],
    ['same-site', true, 403],
    ['cross-site', true, 403],
    ['same-site', false, 'ok'],
    ['cross-site', false, 'ok'],
  ])('without an origin, from site %s, call %s: %s', (fetchSite, isCall, verdict) => {
    expect(judge({ fetchSite }, isCall)).toBe(verdict)
  })

  it.each([
    ['https://sheaf.example', 'sheaf.example', 'https', 'ok'],
    ['http://sheaf.example', 'sheaf.example', 'https', 403],
    ['https://sheaf.example', 'sheaf.example', 'http', 403],
    ['https://sheaf.example', 'sheaf.example:443', 'https', 'ok'],
    ['http://sheaf.example', 'sheaf.example:80', 'http', 'ok'],
    ['https://sheaf.example:80', 'sheaf.example:80', 'https', 'ok'],
    ['https://sheaf.example', 'sheaf.example:80', 'https', 403],
    ['http://sheaf.example', 'sheaf.example', null, 'ok'],
    ['https://sheaf.example', 'sheaf.example', null, 'ok'],
    ['chrome-extension://sheaf.example', 'sheaf.example', null, 403],
  ] as const)('judges a page of %s at %s, reached by %s', (origin, host, scheme, verdict) => {
    expect(judge({ origin, host, scheme })).toBe(verdict)
  })
})
