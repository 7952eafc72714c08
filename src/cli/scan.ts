/**
 * Going through the records of a Redis without holding it up: SCAN in small steps, and a few cheap commands per record.
 */
import type { Cluster, Redis } from 'ioredis'
import { CREATED_AT, DIGEST, isId, LAST_ACCESSED_AT, SESSION_TTL } from '../store/record.js'
import { scanKeys } from '../store/redis-scan.js'
import type { Context } from './command.js'
import type { Connection } from './connection.js'
import { counted } from './output.js'

/** Keys that one step looks at: well below a millisecond of Redis' time. */
const STEP = 250
/** A hash with more fields than this is no remainder, so its names need not be read. */
const MOST_REMAINING = 100

/**
 * What a hash under such a key is:
 * - `session`: it has an owner;
 * - `remainder`: it has none, and nothing but metadata. It stands for a moment where a session ended or is being
 *   replaced, so that a write that is under way does not bring it back;
 * - `foreign`: anything else. Somebody else's, or what a program wrote into a session that had ended.
 */
export type Kind = 'session' | 'remainder' | 'foreign'

/** What a hash is, by the names of its fields. */
export function kindOf (names: readonly string[]): Kind {
  if (names.includes(DIGEST)) return 'session'
  return names.every((name) => name.startsWith('@')) ? 'remainder' : 'foreign'
}

/** What is known of a hash without reading its data. */
export interface Outline {
  id: string
  kind: Kind
  /** Milliseconds left; -1: for ever. */
  ttl: number
  /** Milliseconds since 1970; NaN where it says nothing. */
  createdAt: number
  lastAccessedAt: number
  /** Seconds. */
  idleTimeout: number
  /** Bytes in Redis' memory; `undefined` where that was not asked, or may not be. */
  memory: number | undefined
}

/**
 * All hashes under the prefix with keys like a record's, in the order in which Redis gives them out; of all masters on a
 * Cluster. One that is there during the whole time is met once; one that comes or goes meanwhile perhaps not.
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
    progress(`${counted(seen.size, 'session')} …`)
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
  const kind = digest != null && isId(id) ? 'session' : await kindWithoutOwner(client, key, id)
  if (kind === undefined) return undefined
  const number = (text: string | null | undefined): number => text == null ? NaN : Number(text)
  return {
    id,
    kind,
    ttl,
    createdAt: number(created),
    lastAccessedAt: number(accessed),
    idleTimeout: number(idle),
    memory: memory ?? (measure ? undefined : 0)
  }
}

/** @returns `undefined` where the hash has gone meanwhile */
async function kindWithoutOwner (client: Redis | Cluster, key: string, id: string): Promise<Kind | undefined> {
  if (!isId(id) || await client.hlen(key) > MOST_REMAINING) return 'foreign'
  // Not HKEYS, because the user of the sessions may not run it.
  const names = Object.keys(await client.hgetall(key))
  return names.length === 0 ? undefined : kindOf(names)
}
