// The plan command: prints what an archive would hold, as a table or as JSON. Creates and saves nothing.
import { urlOf } from '#contracts/archive.ts'
import { createSheafClient } from '../client.ts'
import type { PlanCommand } from './args.ts'
import { GIVE_UP_AFTER_MS, readEntries, type Terminal, writeLine } from './get.ts'
import { planLines } from './render.ts'

/** Resolves to the exit code, or throws the error that ended the command. */
export async function runPlan(command: PlanCommand, terminal: Terminal): Promise<number> {
  const { name, format, head } = command
  const { stdout, signal } = terminal
  const { entries, ignoredCount } = await readEntries(command, terminal)
  await using client = createSheafClient({ url: command.server, giveUpAfterMs: GIVE_UP_AFTER_MS })
  // This call fails at once if there is no server. Without it the client would wait, as for a server that restarts.
  await client.serverInfo({ signal })
  const plan = await client.planArchive({ entries, name, format, head }, { signal })
  const urls = entries.map(urlOf)
  const lines = command.json ? [JSON.stringify(plan, null, 2)] : planLines(plan, urls, head)
  await writeLine(stdout, lines.join('\n'))
  return ignoredCount > 0 || plan.entries.some(({ failure }) => failure !== null) ? 3 : 0
}
