/**
 * Going through the records of a Redis without holding it up: SCAN in small steps, and a few cheap commands per record.
 */
import type { Cluster, Redis } from 'ioredis'
import { CREATED_AT, DIGEST, LAST_ACCESSED_AT, SESSION_TTL } from '../store/record.js'
import { scanKeys } from '../store/redis-scan.js'
import type { Context } from './command.js'
import type { Connection } from './connection.js'
import { grouped } from './output.js'

/** Keys that one step looks at: well below a millisecond of Redis' time. */
const STEP = 250

/** What is known of a record without reading its data. */
export interface Outline {
  id: string
  /** Milliseconds left; -1: for ever. */
  ttl: number
  /** Milliseconds since 1970; NaN where it says nothing. */
  createdAt: number
  lastAccessedAt: number
  /** Seconds. */
  idleTimeout: number
  /** A record of this plugin: it has an owner. Anything else is a hash whose key looks like one. */
  genuine: boolean
  /** Bytes in Redis' memory; `undefined` where that was not asked, or may not be. */
  memory: number | undefined
}

/**
 * All records under the prefix, in the order in which Redis gives them out; of all masters on a Cluster. A record that is
 * there during the whole time is met once; one that comes or goes meanwhile perhaps not.
 *
 * @param measure asks for the memory, too
 */
export async function * scanRecords ({ client, prefix }: Connection, { progress }: Pick<Context, 'progress'>, measure = false): AsyncGenerator<Outline[]> {
  // SCAN may give out a key twice.
  const seen = new Set<string>()
  let measuring = measure
  for await (const keys of scanKeys(client, prefix, STEP)) {
    const ids = keys.map((key) => key.slice(prefix.length)).filter((id) => !seen.has(id))
    for (const id of ids) seen.add(id)
    progress(`${grouped(seen.size)} sessions …`)
    const outlines = await Promise.all(ids.map(async (id) => await outline(client, prefix, id, measuring)))
    if (measuring && outlines.some((one) => one !== undefined && one.memory === undefined)) measuring = false
    yield outlines.filter((one) => one !== undefined)
  }
  progress('')
}

async function outline (client: Redis | Cluster, prefix: string, id: string, measure: boolean): Promise<Outline | undefined> {
  const key = prefix + id
  const [ttl, fields, memory] = await Promise.all([
    client.pttl(key),
    client.hmget(key, CREATED_AT, LAST_ACCESSED_AT, SESSION_TTL, DIGEST),
    // Where this user may not ask, the rest is still worth knowing.
    measure ? client.memory('USAGE', key).catch(() => undefined) : undefined
  ])
  if (ttl === -2) return undefined
  const [created, accessed, idle, digest] = fields
  const number = (text: string | null | undefined): number => text == null ? NaN : Number(text)
  return {
    id,
    ttl,
    createdAt: number(created),
    lastAccessedAt: number(accessed),
    idleTimeout: number(idle),
    genuine: digest != null,
    memory: memory ?? (measure ? undefined : 0)
  }
}
