/**
 * Which keys of which Redis belong to a store: for finding two instances of the plugin
 * that would have the same records.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster, Redis, RedisOptions } from 'ioredis'

/** The keys that begin with a prefix, in one database. */
export interface Keyspace {
  /** Addresses under which the Redis is known: of a Cluster those of some nodes, with Sentinels theirs. */
  servers: readonly string[]
  database: number
  prefix: string
}

/** What a node of a Cluster, and a Sentinel, may be given as. */
type Address = { host?: string | undefined, port?: number | string | null | undefined } | string | number

/** The keys that a store reaches by a client. */
export function keyspaceOf (client: Redis | Cluster, prefix: string): Keyspace {
  if (client.isCluster) {
    const { startupNodes } = client as unknown as { startupNodes: Address[] }
    return { servers: startupNodes.map((node) => addressOf(node, 6379)), database: 0, prefix }
  }
  const { host, port, path, db, sentinels, name } = client.options as RedisOptions
  // What SELECT was last sent with outranks the option.
  const database = (client as Redis).condition?.select ?? db ?? 0
  if (sentinels != null) return { servers: sentinels.map((sentinel) => `${name ?? ''} of ${addressOf(sentinel, 26379)}`), database, prefix }
  return { servers: [path == null || path === '' ? addressOf({ host, port }, 6379) : path], database, prefix }
}

/** Whether two stores would find each other's keys, as far as addresses tell. */
export function overlap (one: Keyspace, other: Keyspace): boolean {
  return wouldOverlap(one, other) && one.servers.some((server) => other.servers.includes(server))
}

/** Whether they would if they were in one Redis. Metadata of a store stand under its prefix and an `@`. */
export function wouldOverlap (one: Keyspace, other: Keyspace): boolean {
  const within = (prefix: string, outer: string): boolean => prefix === outer || prefix.startsWith(`${outer}@`)
  return one.database === other.database && (within(one.prefix, other.prefix) || within(other.prefix, one.prefix))
}

/** A server has this long to say which one it is, milliseconds. */
const ASK_LIMIT = 1000

/**
 * The ids that the servers of a client gave themselves when they were started: one server may have many addresses. Asks for
 * them where a client is connected, and asks for such things by itself; none otherwise.
 */
export async function serversOf (client: Redis | Cluster): Promise<string[]> {
  const nodes = client.isCluster ? (client as Cluster).nodes('master') : [client as Redis]
  const infos = await Promise.all(nodes.filter(({ status, options }) => status === 'ready' && options.enableReadyCheck !== false).map(async (node) => {
    return await Promise.race([node.info('server').catch(() => ''), sleep(ASK_LIMIT, '', { ref: false })])
  }))
  return infos.flatMap((info) => /^run_id:(?!0+\r?$)([\da-f]{40})\r?$/m.exec(info)?.[1] ?? [])
}

function addressOf (address: Address, standardPort: number): string {
  if (typeof address === 'number') return addressOf({ port: address }, standardPort)
  if (typeof address === 'object') return `${hostOf(address.host ?? '')}:${Number(address.port ?? standardPort)}`
  if (/^\d+$/.test(address)) return addressOf({ port: address }, standardPort)
  const url = address.includes('://') ? address : `redis://${address}`
  if (!URL.canParse(url)) return address
  const { hostname, port } = new URL(url)
  return addressOf({ host: hostname, port: port === '' ? standardPort : port }, standardPort)
}

/** One name for each host, as far as names tell. */
function hostOf (host: string): string {
  const name = host.toLowerCase().replace(/^\[|\]$/g, '').replace(/\.$/, '')
  return ['', 'localhost', '::1', '0.0.0.0', '::'].includes(name) || name.startsWith('127.') ? 'localhost' : name
}
