/** `fastify-live-session list`. */
import type { Command, Context } from './command.js'
import { withRedis } from './connection.js'
import { readFlags, REDIS_FLAGS, REDIS_HELP, wholeNumber } from './flags.js'
import { isoMoment, moment, span } from './output.js'
import { scanRecords, type Outline } from './scan.js'

const DEFAULT_LIMIT = 100

export const list: Command = {
  summary: 'list the sessions',
  help: `Lists the sessions that Redis holds, in no particular order, without extending or reading them.

Usage: fastify-live-session list [flags]

  --limit <number>   stop after so many; 0: list all (default ${DEFAULT_LIMIT})
${REDIS_HELP}
  --json             one JSON object per line: id, createdAt, lastAccessedAt, expiresIn (seconds), idleTimeout (seconds)
  -h, --help         this text

Redis is asked in small steps (SCAN), which hold up nobody. Sessions that begin or end meanwhile may be missing.`,
  run
}

async function run (args: string[], context: Context): Promise<undefined> {
  const { values } = readFlags('list', args, { ...REDIS_FLAGS, limit: { type: 'string' } })
  const limit = wholeNumber('list', '--limit', values.limit, DEFAULT_LIMIT) || Infinity
  const { print, progress } = context
  await withRedis(values, context.env, async (connection) => {
    let count = 0
    if (values.json !== true) print(row('ID', 'CREATED', 'LAST USED', 'ENDS IN'))
    for await (const outlines of scanRecords(connection, context)) {
      progress('')
      for (const one of outlines) {
        if (!one.genuine) continue
        if (++count > limit) {
          if (values.json !== true) print('… and more; --limit 0 lists all')
          return
        }
        print(values.json === true ? toJson(one) : row(one.id, moment(one.createdAt), moment(one.lastAccessedAt), one.ttl < 0 ? 'never' : span(one.ttl)))
      }
    }
    if (count === 0 && values.json !== true) print(`There are no sessions under ${connection.prefix} at ${connection.where}.`)
  })
  return undefined
}

/** Columns of a fixed width, because lines are printed as they come. */
function row (id: string, created: string, accessed: string, left: string): string {
  return `${id.padEnd(22)}  ${created.padEnd(20)}  ${accessed.padEnd(20)}  ${left}`
}

function toJson ({ id, createdAt, lastAccessedAt, idleTimeout, ttl }: Outline): string {
  return JSON.stringify({
    id,
    createdAt: isoMoment(createdAt),
    lastAccessedAt: isoMoment(lastAccessedAt),
    expiresIn: ttl < 0 ? null : ttl / 1000,
    idleTimeout: Number.isFinite(idleTimeout) ? idleTimeout : null
  })
}
