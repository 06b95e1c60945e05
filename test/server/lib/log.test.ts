// Lines of the log: one each, quoted, and nothing secret in them.
import { expect, it } from 'vitest'
import { createLog } from '../../../server/lib/log.ts'

it('tells a hashed field by the same few digits each time, and never by itself', () => {
  const lines: string[] = []
  const log = createLog('info', { hashed: 'archive', write: (line) => lines.push(line) })
  log.info('one', { archive: '08V8WUvQcYNzGmfY6vh8kQ', entries: 2 })
  log.warn('two', { archive: '08V8WUvQcYNzGmfY6vh8kQ' })
  const [one, two] = lines.map((line) => / archive=([0-9a-f]{12})\b/.exec(line)?.[1])
  expect(one).toBeDefined()
  expect(two).toBe(one)
  expect(lines.join('')).not.toContain('08V8WUvQ')
  expect(lines[0]).toMatch(/ entries=2\n$/)
})
