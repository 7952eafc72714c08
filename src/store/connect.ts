/**
 * From the option `redis` to a store: what was given is used, what is missing is opened, and only what was opened here
 * is closed.
 */
import fastifyRedis from '@fastify/redis'
import type { FastifyInstance } from 'fastify'
import { Cluster, Redis, type ClusterOptions, type RedisOptions } from 'ioredis'
import { OptionError } from '../errors.js'
import type { RedisOption } from '../options.js'
import { checkClient } from './client-check.js'
import { MemoryStore } from './memory.js'
import { RedisStore } from './redis.js'
import { canWrite, isReadOnly, isAccessDenied, reasonOf, type Report } from './redis-health.js'
import { cutWhereOpeningFails, cutWhereSilent } from './redis-silence.js'
import type { Store } from './store.js'

/** Opening a connection at boot may take this long, milliseconds: less than Fastify's own limit of 10 s. */
const CONNECT_LIMIT = 5000
/** Closing may take this long, milliseconds; then the socket is cut. One that is silent is cut earlier. */
const CLOSE_LIMIT = 1000
const CLOSE_SILENCE = 400
/** How much longer than the timeout a connection may be silent that owes an answer, milliseconds; then it is cut. */
const PATIENCE = 150
/** How often a Cluster is asked which node has which slots, milliseconds: often enough to follow a failover soon. */
const SLOTS_REFRESH_INTERVAL = 1000
/** A connection that was given up is tried again after this, milliseconds. */
const RETRY_DELAY = 100
const DEFAULT_URL = 'redis://localhost:6379'

/** What is to be known beside the connection; see the options of the same names. */
export interface StoreOptions { prefix: string, timeout: number, startup: 'require' | 'lazy' }

/**
 * The store that the option `redis` asks for: ready to use, or with `startup: 'lazy'` as soon as Redis can be reached.
 *
 * @param fastify its `redis` is the default; it also closes what is opened here, and logs when Redis goes and comes
 * @param option as the application gave it
 * @throws OptionError (`SESSION_OPTION_INVALID`) where the option makes no sense; with `startup: 'require'` also where
 *   Redis cannot be reached within 5 s, refuses the credentials, or is a replica
 */
export async function connectStore (fastify: FastifyInstance, option: RedisOption | undefined, options: StoreOptions): Promise<Store> {
  const given = option ?? (fastify as { redis?: RedisOption }).redis ?? DEFAULT_URL
  if (given === 'memory:') return memoryStore(fastify, options)
  if (isStore(given)) return given
  const opened = isClient(given) ? undefined : openClient(given, options.timeout)
  const client = opened ?? given as Redis | Cluster
  // Until the store does it.
  const leaveOpening = opened && cutWhereOpeningFails(opened, options.timeout + PATIENCE)
  try {
    for (const warning of checkClient(client, opened === undefined)) fastify.log.warn(warning)
    if (options.startup === 'require') {
      await untilUsable(client, options.prefix)
      if (opened instanceof Cluster) await connectNodes(opened)
    }
  } catch (error) {
    if (opened !== undefined) dismiss(opened)
    throw error
  }
  leaveOpening?.()
  // Others may work on a client that was given.
  const patience = opened === undefined ? {} : { patience: PATIENCE }
  const store = new RedisStore(client, { prefix: options.prefix, timeout: options.timeout, ...patience, report: logChanges(fastify) })
  fastify.addHook('onClose', async () => { await store.close() })
  if (options.startup === 'lazy') {
    if (opened instanceof Cluster) opened.once('ready', async () => { await connectNodes(opened) })
    if (client.status === 'wait') client.connect().catch(() => {}) // told to its listeners
    // Not by @fastify/redis, which would keep the app from booting until Redis is there.
    if (opened !== undefined) fastify.addHook('onClose', async () => { await close(opened, () => opened.quit()) })
  } else if (opened !== undefined) {
    await handOver(fastify, opened)
  }
  return store
}

/**
 * A connection for programs without an app, which are about to end: the caller closes it, by `disconnect()`.
 *
 * @param url one of those that the option `redis` takes, other than `memory:`
 * @param timeout milliseconds without a sign of life after which the connection counts as broken
 * @param prefix of keys that may be touched
 * @throws OptionError (`SESSION_OPTION_INVALID`) where the URL makes no sense, or Redis cannot be reached or used within 5 s
 */
export async function connectAlone (url: string, timeout: number, prefix: string): Promise<Redis | Cluster> {
  const client = openClient(url, timeout, { socketTimeout: timeout + PATIENCE })
  // A program that is about to end waits for no reconnection, and a new connection would keep it alive.
  dismissed.add(client)
  try {
    await untilUsable(client, prefix)
    if (client instanceof Cluster) await connectNodes(client)
    else client.options.retryStrategy = () => null
    return client
  } catch (error) {
    client.disconnect()
    throw error
  }
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

function openClient (given: Exclude<RedisOption, Store | Redis | Cluster>, timeout: number, more: RedisOptions = {}): Redis | Cluster {
  const safe = { ...safeOptions(), ...more }
  if (typeof given !== 'string') {
    if (Object.values(given).some(isClient as (value: unknown) => boolean)) {
      throw new OptionError('redis (SESSION_REDIS)', 'fastify.redis holds several connections; pass the one for sessions: redis: fastify.redis.<namespace>')
    }
    return listened(new Redis({ ...safe, ...(given.sentinels != null && sentinelOptions(timeout)), ...given }))
  }
  const url = /^redis(s?)\+(sentinel|cluster):\/\/(?:([^@/]*)@)?([^/?#]+)(?:\/([^/?#]*))?$/.exec(given)
  if (url === null) {
    if (!/^rediss?:\/\//.test(given) || !URL.canParse(given)) {
      throw new OptionError('redis (SESSION_REDIS)', 'expected redis://host, redis+sentinel://h1,h2/name or redis+cluster://h1,h2, each also as rediss (TLS), or memory:')
    }
    return listened(new Redis(given, safe))
  }
  const [, tls, kind, credentials = '', hosts = '', name = ''] = url
  const node: RedisOptions = { ...safe, ...parseCredentials(credentials), ...(tls === 's' && { tls: {} }) }
  if (kind === 'cluster') {
    if (name !== '') throw new OptionError('redis (SESSION_REDIS)', 'a Cluster has no databases: leave out what stands behind the hosts')
    return refreshed(listened(new Cluster(nodes(hosts, 6379), clusterOptions(node, timeout))))
  }
  if (name === '') throw new OptionError('redis (SESSION_REDIS)', 'redis+sentinel:// needs the name of the master: redis+sentinel://h1,h2/name')
  return listened(new Redis({
    ...node,
    ...sentinelOptions(timeout),
    sentinels: nodes(hosts, 26379),
    name,
    ...(tls === 's' && { enableTLSForSentinelMode: true })
  }))
}

/** Clients that shall not be connected again when they end. */
const dismissed = new WeakSet<Redis | Cluster>()

function listened<Client extends Redis | Cluster> (client: Client): Client {
  // Without a listener, ioredis prints every failed attempt to connect. What there is to say, `logChanges` says.
  client.on('error', () => {})
  // ioredis 6.0.0 gives a connection up for good where Sentinels announce a failover while it is reconnecting.
  client.on('end', () => {
    setTimeout(() => { if (!dismissed.has(client)) client.connect().catch(() => {}) }, RETRY_DELAY).unref()
  })
  return client
}

function dismiss (client: Redis | Cluster): void {
  dismissed.add(client)
  client.disconnect()
}

/** User and password of a URL. Whatever is wrong with them, they are not shown. */
function parseCredentials (credentials: string): RedisOptions {
  if (credentials === '') return {}
  const [, username = '', password] = /^([^:]*)(?::(.*))?$/.exec(credentials)!
  try {
    return {
      ...(username !== '' && { username: decodeURIComponent(username) }),
      ...(password !== undefined && { password: decodeURIComponent(password) })
    }
  } catch {
    throw new OptionError('redis (SESSION_REDIS)', 'a % in user or password has to be written as %25')
  }
}

function nodes (hosts: string, defaultPort: number): Array<{ host: string, port: number }> {
  return hosts.split(',').map((host) => {
    if (!URL.canParse(`redis://${host}`)) throw new OptionError('redis (SESSION_REDIS)', 'one of the hosts cannot be understood')
    const { hostname, port } = new URL(`redis://${host}`)
    return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? defaultPort : Number(port) }
  })
}

/**
 * What sessions need of ioredis: failing at once instead of queueing, and never sending a command twice. Its defaults would
 * hold a request for over a minute, and replay increments. A dead connection is noticed by the store: the timer of
 * `socketTimeout` would also cut one whose answers this process was only too busy to read.
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

/** Waits until a client is connected, and to a Redis that can be written to. */
async function untilUsable (client: Redis | Cluster, prefix: string): Promise<void> {
  let last: Error | undefined
  let timer: NodeJS.Timeout | undefined
  let giveUp: () => void = () => {}
  const note = (error: Error & { lastNodeError?: Error }): void => {
    // A Cluster says only that it failed; why is in what its last node said.
    last = error.lastNodeError ?? error
    if (isAccessDenied(reasonOf(last))) giveUp()
  }
  let check: () => void = () => {}
  try {
    await new Promise<void>((resolve, reject) => {
      giveUp = reject
      timer = setTimeout(reject, CONNECT_LIMIT)
      check = () => {
        if (client.isCluster) resolve()
        else canWrite(client, prefix).then((writable) => { writable ? resolve() : reject(new Error('READONLY')) }, note)
      }
      client.on('error', note)
      client.on('ready', check)
      client.once('end', giveUp)
      if (client.status === 'ready') check()
      else if (client.status === 'wait') client.connect().catch(note)
    })
  } catch (error) {
    throw new OptionError('redis (SESSION_REDIS)', bootProblem(reasonOf(error as Error | undefined ?? last)))
  } finally {
    clearTimeout(timer)
    client.off('error', note)
    client.off('ready', check)
    client.off('end', giveUp)
  }
}

function bootProblem (reason: string): string {
  if (reason === 'READONLY') return 'this Redis is a replica (READONLY): connect to its master, or by redis+sentinel://'
  if (isAccessDenied(reason)) return `Redis refused the user or password (${reason})`
  return `Redis could not be reached within ${CONNECT_LIMIT / 1000} s (${reason}). Start it, correct the address, set startup to lazy to boot without it, or use memory: to try things out`
}

/** One line when Redis goes away and one when it comes back, instead of one per attempt to reconnect. */
function logChanges (fastify: FastifyInstance): Report {
  let away = false
  let closing = false
  fastify.addHook('preClose', async () => { closing = true })
  return (available, reason) => {
    if (closing || (available && !away)) return
    away = !available
    if (available) fastify.log.info('the session store is available again')
    else fastify.log.error({ reason }, 'the session store is not available: requests with a session are answered 503 until it is back')
  }
}

/**
 * Closes a connection, within a bound: `quit` waits for what is under way, which may be for ever where Redis is away.
 */
async function close (client: Redis | Cluster, quit: () => Promise<unknown>): Promise<'OK'> {
  dismissed.add(client)
  const timer = setTimeout(() => { client.disconnect() }, CLOSE_LIMIT)
  for (const { stream } of 'nodes' in client ? client.nodes() : [client]) cutWhereSilent(stream, CLOSE_SILENCE, () => true)
  try {
    if (client.status === 'ready') await quit()
  } catch {
    // Redis went away meanwhile.
  } finally {
    clearTimeout(timer)
    // Also after a good quit: a Sentinel client's failover detector has connections of its own, which quit() forgets.
    client.disconnect()
  }
  return 'OK'
}

/**
 * Puts a connection into the care of @fastify/redis, in a context of its own, so that the application's `fastify.redis`
 * stays as it is. It closes by `quit()`.
 */
async function handOver (fastify: FastifyInstance, client: Redis | Cluster): Promise<void> {
  const quit = client.quit.bind(client)
  client.quit = async () => await close(client, quit)
  await fastify.register(async (context) => {
    await context.register(fastifyRedis, { client: client as Redis, closeClient: true, namespace: `fastify-live-session-${++opened}` })
  })
}

let opened = 0
