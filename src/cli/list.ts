/** `fastify-live-session list`. */
import type { Command, Context } from './command.js'
import { withRedis, type Connection } from './connection.js'
import { readFlags, REDIS_FLAGS, REDIS_HELP, wholeNumber } from './flags.js'
import { columns, isoMoment, moment, printable, span } from './output.js'
import { scanRecords, type Outline } from './scan.js'
import { findUser, userIndex, userKeys } from './users.js'

const DEFAULT_LIMIT = 100

export const list: Command = {
  summary: 'list the sessions',
  help: `Lists the sessions that Redis holds, in no particular order, without extending or reading them.

Usage: fastify-live-session list [flags]

  --user <user>      only those of this user, as the option userField says it; the one used last first.
                     A number is looked for as a number and as text; #… is the user whose list Redis has under a key
                     that ends like that.
  --limit <number>   stop after so many; 0: list all (default ${DEFAULT_LIMIT})
${REDIS_HELP}
  --json             one JSON object per line: id, createdAt, lastAccessedAt, expiresIn (seconds), idleTimeout
                     (seconds); with --user authenticatedAt, device and network instead of idleTimeout
  -h, --help         this text

Redis is asked in small steps (SCAN), which hold up nobody. Sessions that begin or end meanwhile may be missing.`,
  run
}

async function run (args: string[], context: Context): Promise<undefined> {
  const { values } = readFlags('list', args, { user: { type: 'string' }, limit: { type: 'string' }, ...REDIS_FLAGS })
  const limit = wholeNumber('list', '--limit', values.limit, DEFAULT_LIMIT) || Infinity
  if (values.user !== undefined) {
    const keys = userKeys(values.user)
    await withRedis(values, context.env, async (connection) => { await listUser(connection, keys, limit, values.json === true, context) })
    return undefined
  }
  const { print, progress } = context
  await withRedis(values, context.env, async (connection) => {
    let count = 0
    if (values.json !== true) print(row('ID', 'CREATED', 'LAST USED', 'ENDS IN'))
    for await (const outlines of scanRecords(connection, context)) {
      progress('')
      for (const one of outlines) {
        if (one.kind !== 'session') continue
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

async function listUser (connection: Connection, keys: readonly string[], limit: number, json: boolean, context: Context): Promise<void> {
  const { print } = context
  const index = userIndex(connection)
  const { keys: known, unlisted } = await findUser(connection, keys, context)
  const listed = await Promise.all(known.map((key) => index.list(key)))
  const found = [...listed.flat(), ...unlisted].sort((a, b) => b.lastAccessedAt - a.lastAccessedAt)
  if (json) {
    for (const { id, now, ttl, ...one } of found.slice(0, limit)) {
      print(JSON.stringify({
        id,
        createdAt: isoMoment(one.createdAt),
        lastAccessedAt: isoMoment(one.lastAccessedAt),
        expiresIn: ttl / 1000,
        authenticatedAt: isoMoment(one.authenticatedAt ?? NaN),
        device: one.device ?? null,
        network: one.network ?? null
      }))
    }
    return
  }
  if (found.length === 0) {
    print(`This user has no sessions under ${connection.prefix} at ${connection.where}.`)
    return
  }
  const rows = found.slice(0, limit).map(({ id, createdAt, lastAccessedAt, ttl, device, network }) => [
    id, moment(createdAt), moment(lastAccessedAt), span(ttl), printable(device ?? '-', 40), printable(network ?? '-', 50)
  ])
  for (const line of columns([['ID', 'CREATED', 'LAST USED', 'ENDS IN', 'DEVICE', 'NETWORK'], ...rows])) print(line)
  if (found.length > limit) print(`… and ${found.length - limit} more; --limit 0 lists all`)
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
