// Starts a real server and an origin for the tests that run in the browser, and stops both afterwards.
import type { TestProject } from 'vitest/node'
import './context.ts'
import { bytes, delayed, stallBeforeHeaders } from './behaviours.ts'
import { bodyOf, startOrigin } from './origin.ts'
import { startServer } from './server.ts'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const origin = await startOrigin()
  origin.serve('/slow/*', delayed(400, bytes(bodyOf(20_000, 'slow'))))
  origin.serve('/hang/*', stallBeforeHeaders())
  const server = await startServer({
    env: { SHEAF_ALLOWED_ORIGINS: 'http://127.0.0.1:63315,http://localhost:63315', SHEAF_SAMPLES_PORT: '0' },
  })
  project.provide('serverUrl', server.url)
  project.provide('originUrl', origin.url)
  return async () => {
    await server.stop()
    await origin[Symbol.asyncDispose]()
  }
}
