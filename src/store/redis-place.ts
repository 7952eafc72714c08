/** Where a client connects to: for messages, which name it without user and password, and for a look at what listens there. */
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { ConnectionOptions } from 'node:tls'

/** One address, as in the options of ioredis. */
export interface Port {
  host?: string | undefined
  port?: number | undefined
  /** Of a Unix socket; then host and port do not count. */
  path?: string | undefined
  family?: number | undefined
  /** As TLS is to be spoken there. */
  tls?: ConnectionOptions | boolean | undefined
}

/** `127.0.0.1:6379`, or the path of a Unix socket. */
export function nameOf ({ host, port, path }: Port): string {
  if (path != null && path !== '') return path
  const name = host ?? 'localhost'
  return `${name.includes(':') ? `[${name}]` : name}:${port ?? 6379}`
}

/** Where a client begins: its server, its Sentinels, or the nodes by which it finds the Cluster. */
export function portsOf (client: Redis | Cluster): Port[] {
  if (client.isCluster) {
    const { startupNodes, options } = client as unknown as { startupNodes: Array<Port | string | number>, options: Cluster['options'] }
    return startupNodes.map((node) => ({ tls: options.redisOptions?.tls, ...portOf(node) }))
  }
  const { host, port, path, family, tls, sentinels, sentinelTLS } = client.options as RedisOptions
  if (sentinels == null) return [{ host, port, path, family, tls }]
  return sentinels.map((sentinel) => ({ host: sentinel.host, port: sentinel.port ?? 26379, tls: sentinelTLS }))
}

/** A node of a Cluster may be given as its URL, or as its port alone. */
function portOf (node: Port | string | number): Port {
  if (typeof node === 'object') return node
  if (typeof node === 'number') return { port: node }
  const url = URL.canParse(node) ? new URL(node) : undefined
  return { host: url?.hostname, port: Number(url?.port) || undefined }
}

/** What a client connects to, in words: `127.0.0.1:6379`, or `mymaster at 127.0.0.1:26379` where Sentinels know it. */
export function placeOf (client: Redis | Cluster): string {
  const places = portsOf(client).map(nameOf).join(', ')
  const { sentinels, name } = client.options as RedisOptions
  return sentinels == null || client.isCluster ? places : `${name ?? ''} at ${places}`
}
