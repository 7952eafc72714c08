/**
 * From the option `redis` to a store: what was given is used, what is missing is opened, and only what was opened here
 * is closed.
 */
import fastifyRedis from '@fastify/redis'
import type { FastifyInstance } from 'fastify'
import { Cluster, Redis, type ClusterOptions, type RedisOptions } from 'ioredis'
import { OptionError } from '../errors.js'
import type { RedisOption } from '../options.js'
import { MemoryStore } from './memory.js'
import { RedisStore } from './redis.js'
import type { Store } from './store.js'

/** Opening a connection at boot may take this long, milliseconds: less than Fastify's own limit of 10 s. */
const CONNECT_LIMIT = 5000
/** Closing may take this long, milliseconds; then the socket is cut. */
const CLOSE_LIMIT = 1000
const DEFAULT_URL = 'redis://localhost:6379'

/** What the store needs to know beside the connection. */
export interface StoreOptions { prefix: string, timeout: number }

/**
 * The store that the option `redis` asks for, ready to use.
 *
 * @param fastify its `redis` is the default; it also closes what is opened here
 * @param option as the application gave it
 * @throws OptionError (`SESSION_OPTION_INVALID`) where Redis cannot be reached, within 5 s, or the option makes no sense
 */
export async function connectStore (fastify: FastifyInstance, option: RedisOption | undefined, options: StoreOptions): Promise<Store> {
  const given = option ?? (fastify as { redis?: RedisOption }).redis ?? DEFAULT_URL
  if (given === 'memory:') return memoryStore(fastify, options)
  if (isStore(given)) return given
  if (isClient(given)) {
    await untilReady(given)
    return new RedisStore(given, options)
  }
  const client = openClient(given, options.timeout)
  logStateChanges(fastify, client)
  await untilReady(client)
  if (client instanceof Cluster) await connectNodes(client)
  await handOver(fastify, client)
  return new RedisStore(client, options)
}

function memoryStore (fastify: FastifyInstance, { prefix }: StoreOptions): Store {
  const store = new MemoryStore({ prefix })
  fastify.addHook('onClose', async () => { await store.close() })
  return store
}

function isStore (given: RedisOption): given is Store {
  return typeof given === 'object' && typeof (given as Store).load === 'function' && typeof (given as Store).write === 'function'
}

function isClient (given: RedisOption): given is Redis | Cluster {
  return typeof given === 'object' && typeof (given as Redis).sendCommand === 'function'
}

function openClient (given: Exclude<RedisOption, Store | Redis | Cluster>, timeout: number): Redis | Cluster {
  const safe = safeOptions(timeout)
  if (typeof given !== 'string') {
    if (Object.values(given).some(isClient as (value: unknown) => boolean)) {
      throw new OptionError('redis (SESSION_REDIS)', 'fastify.redis holds several connections; pass the one for sessions: redis: fastify.redis.<namespace>')
    }
    return new Redis({ ...safe, ...given })
  }
  const url = /^redis(s?)\+(sentinel|cluster):\/\/(?:([^@/]*)@)?([^/?#]+)(?:\/([^/?#]*))?$/.exec(given)
  if (url === null) {
    if (!/^rediss?:\/\//.test(given) || !URL.canParse(given)) {
      throw new OptionError('redis (SESSION_REDIS)', 'expected redis://, rediss://, redis+sentinel://, redis+cluster:// or memory:')
    }
    return new Redis(given, safe)
  }
  const [, tls, kind, credentials = '', hosts = '', name = ''] = url
  const [username, password] = credentials.split(':').map(decodeURIComponent)
  const node: RedisOptions = {
    ...safe,
    ...(username !== undefined && username !== '' && { username }),
    ...(password !== undefined && { password }),
    ...(tls === 's' && { tls: {} })
  }
  if (kind === 'cluster') return new Cluster(nodes(hosts, 6379), clusterOptions(node))
  if (name === '') throw new OptionError('redis (SESSION_REDIS)', 'redis+sentinel:// needs the name of the master: redis+sentinel://h1,h2/name')
  return new Redis({
    ...node,
    sentinels: nodes(hosts, 26379),
    name,
    // Without it a planned failover leaves the client writing to the old master for seconds, and those writes are lost.
    failoverDetector: true,
    sentinelCommandTimeout: 2 * timeout,
    ...(tls === 's' && { enableTLSForSentinelMode: true })
  })
}

function nodes (hosts: string, defaultPort: number): Array<{ host: string, port: number }> {
  return hosts.split(',').map((host) => {
    if (!URL.canParse(`redis://${host}`)) throw new OptionError('redis (SESSION_REDIS)', 'one of the hosts cannot be understood')
    const { hostname, port } = new URL(`redis://${host}`)
    return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? defaultPort : Number(port) }
  })
}

/**
 * What sessions need of ioredis: failing at once instead of queueing, never sending a command twice, and noticing a dead
 * connection. Its defaults would hold a request for over a minute, and replay increments.
 */
function safeOptions (timeout: number): RedisOptions {
  return {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: 2000,
    socketTimeout: timeout + 150,
    retryStrategy: (times) => Math.min(25 * 2 ** Math.min(times, 5), 500) + Math.random() * 50,
    // A master that became a replica answers READONLY for ever; a new connection finds the new master.
    reconnectOnError: (error) => /^(?:READONLY|MASTERDOWN)/.test(error.message) ? 1 : false
  }
}

function clusterOptions (node: RedisOptions): ClusterOptions {
  const { enableOfflineQueue, retryStrategy, reconnectOnError, ...redisOptions } = node
  return {
    enableOfflineQueue: false,
    // More than 0, and a command whose connection broke is sent again: increments would count twice.
    retryDelayOnFailover: 0,
    slotsRefreshInterval: 1000,
    scaleReads: 'master',
    clusterRetryStrategy: retryStrategy as (times: number) => number,
    redisOptions
  }
}

/**
 * Connects the nodes of a Cluster before they are needed. ioredis does it with a node's first command; without a queue,
 * the other commands of that moment would fail.
 */
async function connectNodes (cluster: Cluster): Promise<void> {
  const connect = async (node: Redis): Promise<void> => {
    // A node that is away is no reason not to boot: its slots are answered 503 until it or its replica is back.
    if (node.status === 'wait') await node.connect().catch(() => {})
  }
  cluster.on('+node', connect)
  await Promise.all(cluster.nodes().map(connect))
}

/** Answers that no waiting will change. */
const REFUSED = /^(?:WRONGPASS|NOAUTH|NOPERM|ERR AUTH|ERR invalid password)/

/** Waits until a client can be used. */
async function untilReady (client: Redis | Cluster): Promise<void> {
  if (client.status === 'ready') return
  let last: Error | undefined
  let giveUp: () => void = () => {}
  const note = (error: Error & { lastNodeError?: Error }): void => {
    // A Cluster says only that it failed; why is in what its last node said.
    last = error.lastNodeError ?? error
    if (REFUSED.test(last.message)) giveUp()
  }
  client.on('error', note)
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(reject, CONNECT_LIMIT)
      giveUp = () => { clearTimeout(timer); reject(new Error()) }
      client.once('end', giveUp)
      client.once('ready', () => { clearTimeout(timer); resolve() })
      if (client.status === 'wait') client.connect().catch(note)
    })
  } catch {
    client.disconnect()
    const problem = last !== undefined && REFUSED.test(last.message)
      ? `Redis refused the user or password (${reason(last)})`
      : `Redis could not be reached within ${CONNECT_LIMIT / 1000} s (${reason(last)}). Start it, correct the address, or use memory: to try things out`
    throw new OptionError('redis (SESSION_REDIS)', problem)
  } finally {
    client.off('error', note)
    client.off('end', giveUp)
  }
}

/** What went wrong, in a word that holds no credentials. */
function reason (error: Error | undefined): string {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? /^([A-Z]{2,32})\b/.exec(error?.message ?? '')?.[1]
  return code ?? 'no answer'
}

/** One line when Redis goes away and one when it comes back, instead of one per attempt to reconnect. */
function logStateChanges (fastify: FastifyInstance, client: Redis | Cluster): void {
  let connected = false
  let away = false
  fastify.addHook('preClose', async () => { connected = false })
  client.on('error', () => {})
  client.on('ready', () => {
    if (away) fastify.log.info('the session store is available again')
    connected = true
    away = false
  })
  client.on('close', () => {
    if (!connected || away) return
    away = true
    fastify.log.error('the session store is not available: requests with a session are answered 503 until it is back')
  })
}

/**
 * Puts a connection into the care of @fastify/redis, in a context of its own, so that the application's `fastify.redis`
 * stays as it is. It closes by `quit()`, which waits for ever where Redis is away; so this client's `quit` is bounded.
 */
async function handOver (fastify: FastifyInstance, client: Redis | Cluster): Promise<void> {
  const quit = client.quit.bind(client)
  client.quit = async () => {
    const timer = setTimeout(() => { client.disconnect() }, CLOSE_LIMIT)
    try {
      return await quit()
    } catch {
      return 'OK'
    } finally {
      clearTimeout(timer)
      // Also after a good quit: a Sentinel client's failover detector has connections of its own, which quit() forgets.
      client.disconnect()
    }
  }
  await fastify.register(async (context) => {
    await context.register(fastifyRedis, { client: client as Redis, closeClient: true, namespace: `fastify-live-session-${++opened}` })
  })
}

let opened = 0
