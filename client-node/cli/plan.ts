// The plan command: what an archive would hold, as a table or as JSON, and an exit code. Makes and saves nothing.
import { urlOf } from '#contracts/archive.ts'
import { createSheafClient } from '../client.ts'
import type { PlanCommand } from './args.ts'
import { GIVE_UP_AFTER_MS, readEntries, type Terminal, writeLine } from './get.ts'
import { planLines } from './render.ts'

/** Resolves to the exit code, or throws what ended it. */
export async function runPlan(command: PlanCommand, terminal: Terminal): Promise<number> {
  const { name, format, head } = command
  const { stdout, signal } = terminal
  const entries = await readEntries(command, terminal)
  await using client = createSheafClient({ url: command.server, giveUpAfterMs: GIVE_UP_AFTER_MS })
  // Without this first question, a server that is not there would be waited for as one that is restarted.
  await client.serverInfo({ signal })
  const plan = await client.planArchive({ entries, name, format, head }, { signal })
  const urls = entries.map(urlOf)
  const lines = command.json ? [JSON.stringify(plan, null, 2)] : planLines(plan, urls, head)
  await writeLine(stdout, lines.join('\n'))
  return plan.entries.some(({ failure }) => failure !== null) ? 3 : 0
}
