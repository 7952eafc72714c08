/**
 * Opening connections to Redis as sessions need them, and closing them again.
 */
import { Cluster, Redis, type ClusterOptions, type RedisOptions } from 'ioredis'
import { OptionError } from '../errors.js'
import { readAddress } from './redis-address.js'
import { cutWhereSilent } from './redis-silence.js'
import { isReadOnly } from './redis-trouble.js'

/** How much longer than the timeout a connection may be silent that owes an answer, milliseconds; then it is cut. */
export const PATIENCE = 150
/** Closing may take this long, milliseconds; then the socket is cut. One that is silent is cut earlier. */
const CLOSE_LIMIT = 1000
const CLOSE_SILENCE = 400
/** How often a Cluster is asked which node has which slots, milliseconds: often enough to follow a failover soon. */
const SLOTS_REFRESH_INTERVAL = 1000
/** A connection that was given up is tried again after this, milliseconds. */
const RETRY_DELAY = 100

/** Clients that shall not be connected again when they end. */
const dismissed = new WeakSet<Redis | Cluster>()

/**
 * Opens a connection, which is not waited for. Whoever uses it has to cut it where it is silent: see `redis-silence.ts`.
 *
 * @param given one of the URLs that the option `redis` takes, other than `memory:`, or ioredis options; these win over what
 *   sessions need
 * @param timeout milliseconds that one command may take
 * @param more what is to be different from what sessions need
 * @throws OptionError (`SESSION_OPTION_INVALID`) where they make no sense
 */
export function openClient (given: string | RedisOptions, timeout: number, more: RedisOptions = {}): Redis | Cluster {
  const safe = { ...safeOptions(), ...more }
  if (typeof given === 'string') return openAddress(given, timeout, safe)
  const options = { ...safe, ...(given.sentinels != null && sentinelOptions(timeout)), ...given }
  try {
    return listened(new Redis(options))
  } catch (error) {
    // What ioredis finds wrong with options by itself is a fixed text about names of options.
    throw new OptionError('redis (SESSION_REDIS)', `ioredis says: ${(error as Error).message}`)
  }
}

function openAddress (url: string, timeout: number, safe: RedisOptions): Redis | Cluster {
  const { kind, nodes, options } = readAddress(url)
  const node: RedisOptions = { ...safe, ...options }
  switch (kind) {
    case 'single':
      return listened(new Redis({ ...node, ...nodes[0] }))
    case 'cluster':
      return refreshed(listened(new Cluster(nodes, clusterOptions(node, timeout))))
    case 'sentinel':
      return listened(new Redis({
        ...node,
        ...sentinelOptions(timeout),
        sentinels: nodes,
        ...(node.tls !== undefined && { sentinelTLS: node.tls, enableTLSForSentinelMode: true })
      }))
  }
}

function listened<Client extends Redis | Cluster> (client: Client): Client {
  // Without a listener, ioredis prints every failed attempt to connect. What there is to say, the store's health says.
  client.on('error', () => {})
  // ioredis 6.0.0 gives a connection up for good where Sentinels announce a failover while it is reconnecting.
  client.on('end', () => {
    if (dismissed.has(client)) return
    setTimeout(() => { if (!dismissed.has(client)) client.connect().catch(() => {}) }, RETRY_DELAY).unref()
  })
  return client
}

/** Has a client that was opened here stay closed when it ends. */
export function leaveClosed (client: Redis | Cluster): void {
  dismissed.add(client)
}

/** Cuts a client off that was opened here. */
export function dismiss (client: Redis | Cluster): void {
  leaveClosed(client)
  client.disconnect()
}

/**
 * Closes a connection, within a bound: `quit` waits for what is under way, which may be for ever where Redis is away.
 */
export async function closeClient (client: Redis | Cluster, quit: () => Promise<unknown>): Promise<'OK'> {
  leaveClosed(client)
  const timer = setTimeout(() => { client.disconnect() }, CLOSE_LIMIT)
  let isWaiting = true
  for (const { stream } of 'nodes' in client ? client.nodes() : [client]) cutWhereSilent(stream, CLOSE_SILENCE, () => isWaiting)
  try {
    if (client.status === 'ready') await quit()
  } catch {
    // Redis went away meanwhile.
  } finally {
    clearTimeout(timer)
    isWaiting = false
    // Also after a good quit: a Sentinel client's failover detector has connections of its own, which quit() forgets.
    client.disconnect()
  }
  return 'OK'
}

/**
 * Connects the nodes of a Cluster before they are needed. ioredis does it with a node's first command; without a queue,
 * the other commands of that moment would fail.
 */
export async function connectNodes (cluster: Cluster): Promise<void> {
  const connect = async (node: Redis): Promise<void> => {
    // A node that is away is no reason not to boot: its slots are answered 503 until it or its replica is back.
    if (node.status === 'wait') await node.connect().catch(() => {})
  }
  cluster.on('+node', connect)
  await Promise.all(cluster.nodes().map(connect))
}

/**
 * What sessions need of ioredis: failing at once instead of queueing, and never sending a command twice. Its defaults would
 * hold a request for over a minute, and replay increments. `socketTimeout` is not among it: that timer would also cut a
 * connection whose answers this process was only too busy to read.
 */
function safeOptions (): RedisOptions {
  return {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: 2000,
    // How long a closed connection may linger; its timer keeps a process from ending.
    disconnectTimeout: 500,
    // By itself it waits for as long as Redis expects to take, at least for a second.
    maxLoadingRetryTime: 250,
    // A user who may do what sessions need and nothing else may not say CLIENT SETINFO: each would be a line in ACL LOG.
    disableClientInfo: true,
    retryStrategy: (times) => Math.min(25 * 2 ** Math.min(times, 5), 500) + Math.random() * 50,
    // A master that became a replica answers READONLY for ever; a new connection finds the new master.
    reconnectOnError: (error) => isReadOnly(error) ? 1 : false
  }
}

/** Without the detector, a failover leaves the client writing to the old master for seconds, and those writes are lost. */
function sentinelOptions (timeout: number): RedisOptions {
  return { failoverDetector: true, sentinelCommandTimeout: 2 * timeout }
}

function clusterOptions (node: RedisOptions, timeout: number): ClusterOptions {
  const { enableOfflineQueue, retryStrategy, reconnectOnError, ...redisOptions } = node
  return {
    enableOfflineQueue: false,
    // More than 0, and a command whose connection broke is sent again: increments would count twice.
    retryDelayOnFailover: 0,
    slotsRefreshInterval: 0, // see `refreshed`
    slotsRefreshTimeout: Math.min(timeout + PATIENCE, 1000),
    scaleReads: 'master',
    clusterRetryStrategy: retryStrategy as (times: number) => number,
    redisOptions
  }
}

/**
 * Has a Cluster ask for its slots now and then. ioredis 6.0.0 can do it by itself, but where it is closed while it asks, it
 * begins anew, goes on for ever and keeps its process from ending.
 */
function refreshed (cluster: Cluster): Cluster {
  let timer: NodeJS.Timeout | undefined
  cluster.on('ready', () => {
    clearInterval(timer)
    timer = setInterval(() => { cluster.refreshSlotsCache() }, SLOTS_REFRESH_INTERVAL).unref()
  })
  cluster.on('close', () => { clearInterval(timer) })
  return cluster
}
