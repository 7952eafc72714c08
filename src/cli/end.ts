/** `fastify-live-session end`. */
import { UsageError, type Command, type Context, type ExitCode } from './command.js'
import { withRedis } from './connection.js'
import { readFlags, readId, REDIS_FLAGS, REDIS_HELP } from './flags.js'
import { userIndex, userKeys } from './users.js'

export const end: Command = {
  summary: 'end sessions',
  help: `Ends sessions: whoever used them is logged out with the next request.

Usage: fastify-live-session end <id>... [flags]
       fastify-live-session end --user <user> [flags]

  --user <user>      end all sessions of this user, as the option userField says it. A number is looked for as a
                     number and as text.
${REDIS_HELP}
  --json             as JSON: {"ended": […ids], "missing": […ids]}; with --user {"ended": <number>}
  -h, --help         this text

Ends with 3 where one of them does not exist (any more), or the user has none.`,
  run
}

async function run (args: string[], context: Context): Promise<ExitCode | undefined> {
  const { values, positionals } = readFlags('end', args, { ...REDIS_FLAGS, user: { type: 'string' } }, [0, Infinity])
  if (values.user !== undefined) {
    if (positionals.length > 0) throw new UsageError('end: give ids or --user, not both')
    return await endUser(userKeys('end', values.user), values, context)
  }
  if (positionals.length === 0) throw new UsageError('end: an id is missing, or --user')
  const ids = [...new Set(positionals.map((text) => readId('end', text)))]
  return await withRedis(values, context.env, async (connection) => {
    const index = userIndex(connection)
    const ended: string[] = []
    const missing: string[] = []
    for (const id of ids) {
      const was = await index.end(id)
      ;(was ? ended : missing).push(id)
      if (values.json !== true) context.print(was ? `Ended ${id}.` : `There is no session ${id} at ${connection.where}.`)
    }
    if (values.json === true) context.print(JSON.stringify({ ended, missing }))
    return missing.length === 0 ? undefined : 3
  })
}

async function endUser (keys: readonly string[], values: { json?: boolean, redis?: string, prefix?: string }, context: Context): Promise<ExitCode | undefined> {
  return await withRedis(values, context.env, async (connection) => {
    const index = userIndex(connection)
    let ended = 0
    for (const key of keys) ended += await index.endAll(key)
    if (values.json === true) context.print(JSON.stringify({ ended }))
    else context.print(ended === 0 ? `This user has no sessions under ${connection.prefix} at ${connection.where}.` : `Ended ${ended === 1 ? 'one session' : `${ended} sessions`}.`)
    return ended === 0 ? 3 : undefined
  })
}
