// Lines of the log: each is one line, quoted, and contains no secret.
import { expect, it } from 'vitest'
import { createLog } from '../../../server/lib/log.ts'

it('writes a hashed field as the same few digits each time, and never the value itself', () => {
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
