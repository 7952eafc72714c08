/** `fastify-live-session stats`. */
import type { Command, Context } from './command.js'
import { withRedis, type Connection } from './connection.js'
import { readFlags, REDIS_FLAGS, REDIS_HELP } from './flags.js'
import { bytes, columns, counted, grouped, span } from './output.js'
import { scanRecords } from './scan.js'

/** Upper ends of the histogram's classes, seconds. */
const CLASSES = [60, 300, 900, 1800, 3600, 6 * 3600, 86_400, 7 * 86_400, Infinity]

export const stats: Command = {
  summary: 'count the sessions, their memory, and when they end',
  help: `Counts the sessions that Redis holds: how many, how much memory they take, and how much time they have left.

Usage: fastify-live-session stats [flags]

${REDIS_HELP}
  --json             as JSON; times in seconds, memory in bytes
  -h, --help         this text

Redis is asked in small steps (SCAN, then PTTL, HMGET and MEMORY USAGE per session), which hold up nobody.
Sessions that begin or end meanwhile may or may not be counted.`,
  run
}

async function run (args: string[], context: Context): Promise<undefined> {
  const { values } = readFlags('stats', args, REDIS_FLAGS)
  await withRedis(values, context.env, async (connection) => {
    const result = await count(connection, context)
    if (values.json === true) context.print(JSON.stringify(result, undefined, 2))
    else for (const line of lines(result, connection)) context.print(line)
  })
  return undefined
}

/** What `--json` prints. */
interface Stats {
  sessions: number
  /** Bytes in Redis' memory; `null` where this user may not ask. */
  memory: { total: number, average: number, largest: number } | null
  /** Seconds. */
  oldest: number | null
  /** Sessions that have less than so many seconds left, and no less than the class before; `below: null`: all others. */
  expiry: Array<{ below: number | null, sessions: number }>
  /** Records that never expire: a mistake of whoever wrote them. */
  withoutExpiry: number
  /** Hashes that sessions which ended leave behind for a minute. */
  remainders: number
  /** Other hashes under such keys. */
  foreign: number
}

async function count (connection: Connection, context: Context): Promise<Stats> {
  const classes = CLASSES.map(() => 0)
  let sessions = 0
  let total: number | undefined = 0
  let largest = 0
  let first = Infinity
  let withoutExpiry = 0
  const others = { remainder: 0, foreign: 0 }
  for await (const outlines of scanRecords(connection, context, true)) {
    for (const { kind, ttl, memory, createdAt } of outlines) {
      if (kind !== 'session') {
        others[kind]++
        continue
      }
      sessions++
      total = total === undefined || memory === undefined ? undefined : total + memory
      largest = Math.max(largest, memory ?? 0)
      if (createdAt < first) first = createdAt
      if (ttl < 0) withoutExpiry++
      else classes[CLASSES.findIndex((below) => ttl < below * 1000)]!++
    }
  }
  return {
    sessions,
    memory: total === undefined ? null : { total, average: sessions === 0 ? 0 : Math.round(total / sessions), largest },
    oldest: Number.isFinite(first) ? Math.max(0, Math.round((Date.now() - first) / 1000)) : null,
    expiry: classes.map((number, i) => ({ below: Number.isFinite(CLASSES[i]!) ? CLASSES[i]! : null, sessions: number })),
    withoutExpiry,
    remainders: others.remainder,
    foreign: others.foreign
  }
}

/** Characters of the longest bar. */
const BAR = 40

function lines ({ sessions, memory, oldest, expiry, withoutExpiry, remainders, foreign }: Stats, { where, prefix }: Connection): string[] {
  const most = Math.max(...expiry.map((one) => one.sessions), 1)
  const head = [
    ['sessions', `${grouped(sessions)} (${prefix} at ${where})`],
    ['memory', memory === null ? 'unknown: MEMORY USAGE is not there, or not allowed' : `${bytes(memory.total)}, ${bytes(memory.average)} on average, ${bytes(memory.largest)} at most`],
    ['oldest', oldest === null ? '-' : `began ${span(oldest * 1000)} ago`],
    ...withoutExpiry === 0 ? [] : [['without expiry', `${grouped(withoutExpiry)}, which never end`]],
    ...remainders === 0 ? [] : [['remainders', `${grouped(remainders)}, which sessions that ended leave behind for a minute`]],
    ...foreign === 0 ? [] : [['foreign', `${counted(foreign, 'hash', 'hashes')} under such keys, which no session has`]]
  ]
  const used = expiry.filter((one) => one.sessions > 0)
  if (used.length === 0) return columns(head)
  const rows = expiry.map(({ below, sessions }, i) => [
    below === null ? `${span(CLASSES[i - 1]! * 1000)} or more` : `less than ${span(below * 1000)}`,
    grouped(sessions),
    '█'.repeat(Math.ceil(sessions / most * BAR))
  ])
  return [...columns(head), '', 'Time left:', ...columns(rows, [1])]
}
