/** `fastify-live-session inspect`. */
import { decode } from '../store/codec.js'
import { CREATED_AT, isReserved, LAST_ACCESSED_AT, LIFETIME, PERSISTENT, SESSION_TTL } from '../store/record.js'
import type { RawRecord } from '../store/store.js'
import type { Command, Context, ExitCode } from './command.js'
import { withRedis } from './connection.js'
import { readFlags, readId, REDIS_FLAGS, REDIS_HELP } from './flags.js'
import { bytes, columns, isoMoment, moment, printable, span } from './output.js'
import { kindOf } from './scan.js'

export const inspect: Command = {
  summary: 'show one session',
  help: `Shows what Redis holds of one session, without extending it.

Usage: fastify-live-session inspect <id> [flags]

  --values           show what is in the fields, too; by default only their types and sizes
${REDIS_HELP}
  --json             as JSON
  -h, --help         this text

What proves that a browser owns the session is never shown, not even its digest. Ends with 3 where there is no such session.`,
  run
}

async function run (args: string[], context: Context): Promise<ExitCode | undefined> {
  const { values, positionals } = readFlags('inspect', args, { values: { type: 'boolean' }, ...REDIS_FLAGS }, [1, 1])
  const id = readId('inspect', positionals[0]!)
  return await withRedis(values, context.env, async ({ store, where }) => {
    const record = await store.inspect(id)
    const kind = record === undefined ? 'remainder' : kindOf(Object.keys(record.fields))
    if (record === undefined || kind !== 'session') {
      const none = `There is no session ${id} at ${where}${kind === 'foreign' ? ': its key holds a hash without an owner' : ''}.`
      context.print(values.json === true ? 'null' : none)
      return 3
    }
    const described = describe(id, record, values.values === true)
    if (values.json === true) context.print(JSON.stringify(described, undefined, 2))
    else for (const line of lines(described)) context.print(line)
    return undefined
  })
}

/** A record as it may be shown. */
interface Described {
  id: string
  key: string
  createdAt: string | null
  lastAccessedAt: string | null
  /** Seconds; `null`: never. */
  expiresIn: number | null
  idleTimeout: number
  lifetime?: number
  persistent: boolean
  fields: Record<string, { type: string, bytes: number, value?: unknown }>
}

function describe (id: string, { key, ttl, fields }: RawRecord, withValues: boolean): Described {
  const data = Object.entries(fields).filter(([name]) => !isReserved(name))
  return {
    id,
    key,
    createdAt: isoMoment(Number(fields[CREATED_AT])),
    lastAccessedAt: isoMoment(Number(fields[LAST_ACCESSED_AT])),
    expiresIn: ttl < 0 ? null : ttl / 1000,
    idleTimeout: Number(fields[SESSION_TTL]),
    ...(fields[LIFETIME] !== undefined && { lifetime: Number(fields[LIFETIME]) }),
    persistent: fields[PERSISTENT] === '1',
    fields: Object.fromEntries(data.map(([name, text]) => {
      const value = decode(text)
      return [name, { type: typeOf(value), bytes: Buffer.byteLength(text), ...(withValues && { value }) }]
    }))
  }
}

function typeOf (value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
}

function lines ({ key, createdAt, lastAccessedAt, expiresIn, idleTimeout, lifetime, persistent, fields }: Described): string[] {
  const time = (iso: string | null): string => iso === null ? '-' : moment(Date.parse(iso))
  const head = [
    ['key', printable(key)],
    ['created', time(createdAt)],
    ['last used', time(lastAccessedAt)],
    ['ends in', expiresIn === null ? 'never' : span(expiresIn * 1000)],
    ['idle timeout', span(idleTimeout * 1000)],
    ...lifetime === undefined ? [] : [['lifetime', span(lifetime * 1000)]],
    ['cookie', persistent ? 'outlives the browser' : 'as the option cookie.persistent says']
  ]
  const data = Object.entries(fields).map(([name, field]) => [
    printable(name, 40), field.type, bytes(field.bytes), 'value' in field ? printable(JSON.stringify(field.value), 100) : '•••'
  ])
  if (data.length === 0) return [...columns(head), '', 'It has no data.']
  return [...columns(head), '', ...columns([['FIELD', 'TYPE', 'SIZE', 'VALUE'], ...data])]
}
