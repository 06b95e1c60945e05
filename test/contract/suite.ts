// The tests that every deployment of sheaf must pass. They know only its URL, so they also run through a proxy.
import { callsSuite } from './calls.suite.ts'
import type { Deployment } from './deployment.ts'
import { downloadSuite } from './download.suite.ts'
import { eventsSuite } from './events.suite.ts'

/** `deployment` is called inside the tests, when the deployment has been started. */
export function contractSuite(deployment: () => Deployment): void {
  callsSuite(deployment)
  eventsSuite(deployment)
  downloadSuite(deployment)
}
