/** `fastify-live-session end`. */
import type { Command, Context, ExitCode } from './command.js'
import { withRedis } from './connection.js'
import { readFlags, readId, REDIS_FLAGS, REDIS_HELP } from './flags.js'

export const end: Command = {
  summary: 'end sessions',
  help: `Ends sessions: whoever used them is logged out with the next request.

Usage: fastify-live-session end <id>... [flags]

${REDIS_HELP}
  --json             as JSON: {"ended": […ids], "missing": […ids]}
  -h, --help         this text

Ends with 3 where one of them does not exist (any more).`,
  run
}

async function run (args: string[], context: Context): Promise<ExitCode | undefined> {
  const { values, positionals } = readFlags('end', args, REDIS_FLAGS, [1, Infinity])
  const ids = [...new Set(positionals.map((text) => readId('end', text)))]
  return await withRedis(values, context.env, async ({ store, where }) => {
    const ended: string[] = []
    const missing: string[] = []
    for (const id of ids) {
      const was = await store.destroy(id)
      ;(was ? ended : missing).push(id)
      if (values.json !== true) context.print(was ? `Ended ${id}.` : `There is no session ${id} at ${where}.`)
    }
    if (values.json === true) context.print(JSON.stringify({ ended, missing }))
    return missing.length === 0 ? undefined : 3
  })
}
