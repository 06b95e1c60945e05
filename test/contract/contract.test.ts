// Runs the contract's tests on a new server, or on the deployment that SHEAF_CONTRACT_URL names. That one must be allowed to
// fetch from where this test's origin listens: SHEAF_CONTRACT_ORIGIN, "http://127.0.0.1:8013" if not set.
import { afterAll, beforeAll } from 'vitest'
import { type Origin, startOrigin } from '../support/origin.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { contractSuite } from './suite.ts'

const { SHEAF_CONTRACT_URL, SHEAF_CONTRACT_ORIGIN = 'http://127.0.0.1:8013' } = process.env

let origin: Origin
let server: TestServer | null = null
let url: string

beforeAll(async () => {
  if (SHEAF_CONTRACT_URL === undefined) {
    origin = await startOrigin()
    server = await startServer()
    url = server.url
    return
  }
  const { hostname: host, port } = new URL(SHEAF_CONTRACT_ORIGIN)
  origin = await startOrigin({ host, port: Number(port) })
  url = SHEAF_CONTRACT_URL.replace(/\/+$/, '')
})

afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
  await origin?.[Symbol.asyncDispose]()
})

contractSuite(() => ({ url, origin }))
