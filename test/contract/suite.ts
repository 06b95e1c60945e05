// What every deployment of sheaf owes its clients, asked for by URL alone. Run against a server, or through what stands before it.
import { callsSuite } from './calls.suite.ts'
import type { Deployment } from './deployment.ts'
import { downloadSuite } from './download.suite.ts'
import { eventsSuite } from './events.suite.ts'

/** `deployment` is asked for within the tests, when it is there. */
export function contractSuite(deployment: () => Deployment): void {
  callsSuite(deployment)
  eventsSuite(deployment)
  downloadSuite(deployment)
}
