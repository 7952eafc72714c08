/** `fastify-live-session end`. */
import { CommandError, UsageError, type Command, type Context, type ExitCode } from './command.js'
import { inWords, withRedis, type Connection } from './connection.js'
import { readFlags, readId, REDIS_FLAGS, REDIS_HELP } from './flags.js'
import { counted } from './output.js'
import { findUser, userIndex, userKeys } from './users.js'

export const end: Command = {
  summary: 'end sessions',
  help: `Ends sessions: whoever used them is logged out with the next request.

Usage: fastify-live-session end <id>... [flags]
       fastify-live-session end --user <user> [flags]

  --user <user>      end all sessions of this user, as the option userField says it. A number is looked for as a
                     number and as text; #… is the user whose list Redis has under a key that ends like that.
${REDIS_HELP}
  --json             as JSON: {"ended": […ids], "missing": […ids], "failed": [{"id", "reason"}]};
                     with --user {"ended": <number>, "failed": […reasons]}
  -h, --help         this text

All that can be ended is, whatever comes of the others. Ends with 1 where one could not be ended, else with 3 where
one does not exist (any more), or the user has none.`,
  run
}

async function run (args: string[], context: Context): Promise<ExitCode | undefined> {
  const { values, positionals } = readFlags('end', args, { user: { type: 'string' }, ...REDIS_FLAGS }, [0, Infinity])
  if (values.user !== undefined && positionals.length > 0) throw new UsageError('end: give ids or --user, not both')
  if (values.user === undefined && positionals.length === 0) throw new UsageError('end: an id is missing, or --user')
  const ids = [...new Set(positionals.map((text) => readId('end', text)))]
  return await withRedis(values, context.env, async (connection) => {
    const { user, json = false } = values
    return user === undefined ? await endEach(connection, ids, json, context) : await endUser(connection, userKeys(user), json, context)
  })
}

async function endEach (connection: Connection, ids: readonly string[], json: boolean, { print }: Context): Promise<ExitCode | undefined> {
  const index = userIndex(connection)
  const say = (line: string): void => { if (!json) print(line) }
  const ended: string[] = []
  const missing: string[] = []
  const failed: Array<{ id: string, reason: string }> = []
  for (const id of ids) {
    try {
      if (await index.end(id)) {
        ended.push(id)
        say(`Ended ${id}.`)
      } else {
        missing.push(id)
        say(`There is no session ${id} at ${connection.where}.`)
      }
    } catch (error) {
      const reason = reasonOf(error)
      failed.push({ id, reason })
      say(`Could not end ${id}: ${reason}`)
    }
  }
  if (json) print(JSON.stringify({ ended, missing, failed }))
  if (failed.length > 0) return 1
  return missing.length > 0 ? 3 : undefined
}

async function endUser (connection: Connection, keys: readonly string[], json: boolean, context: Context): Promise<ExitCode | undefined> {
  const index = userIndex(connection)
  let ended = 0
  const failed: string[] = []
  for (const key of (await findUser(connection, keys, context)).keys) {
    try {
      ended += await index.endAll(key)
    } catch (error) {
      failed.push(reasonOf(error))
    }
  }
  if (json) context.print(JSON.stringify({ ended, failed }))
  else if (failed.length > 0) context.print(`Not all sessions of this user could be ended: ${failed.join(' ')} Try again.`)
  else context.print(ended === 0 ? `This user has no sessions under ${connection.prefix} at ${connection.where}.` : `Ended ${counted(ended, 'session')}.`)
  if (failed.length > 0) return 1
  return ended === 0 ? 3 : undefined
}

/** @throws what nobody foresaw */
function reasonOf (error: unknown): string {
  const reason = error instanceof CommandError ? error.message : inWords(error)
  if (reason === undefined) throw error
  return reason
}
