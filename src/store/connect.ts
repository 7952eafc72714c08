/**
 * From the option `redis` to a store: what was given is used, what is missing is opened, and only what was opened here
 * is closed.
 */
import fastifyRedis from '@fastify/redis'
import type { FastifyInstance } from 'fastify'
import { Cluster, type Redis } from 'ioredis'
import type { RedisOption } from '../options.js'
import { untilUsable } from './boot-check.js'
import { checkClient } from './client-check.js'
import { MemoryStore } from './memory.js'
import { closeClient, connectNodes, dismiss, leaveClosed, openClient, PATIENCE } from './open-client.js'
import { recognize } from './redis-given.js'
import type { Report } from './redis-health.js'
import { cutWhereOpeningFails } from './redis-silence.js'
import { RedisStore } from './redis.js'
import type { Store } from './store.js'

const DEFAULT_URL = 'redis://localhost:6379'

/** What is to be known beside the connection; see the options of the same names. */
export interface StoreOptions { prefix: string, timeout: number, startup: 'require' | 'lazy' }

/**
 * The store that the option `redis` asks for: ready to use, or with `startup: 'lazy'` as soon as Redis can be reached.
 *
 * @param fastify its `redis` is the default; it also closes what is opened here, and logs when Redis goes and comes
 * @param option as the application gave it
 * @throws OptionError (`SESSION_OPTION_INVALID`) where the option makes no sense; with `startup: 'require'` also where
 *   Redis cannot be reached within 5 s, or is none that sessions can be kept in: see `untilUsable`
 */
export async function connectStore (fastify: FastifyInstance, option: RedisOption | undefined, options: StoreOptions): Promise<Store> {
  const set = option === undefined ? (fastify as { redis?: unknown }).redis : option
  if (set === 'memory:') return memoryStore(fastify, options)
  const given = recognize(set === undefined ? DEFAULT_URL : set, option === undefined ? 'fastify.redis' : undefined)
  if (given.kind === 'store') return given.store
  const opened = given.kind === 'client' ? undefined : openClient(given.kind === 'url' ? given.url : given.options, options.timeout)
  const client = given.kind === 'client' ? given.client : opened!
  const silence = options.timeout + PATIENCE
  // Until the store does it.
  const leaveOpening = opened && cutWhereOpeningFails(opened, silence)
  try {
    for (const warning of checkClient(client, opened === undefined)) fastify.log.warn(warning)
    if (options.startup === 'require') {
      await untilUsable(client, { prefix: options.prefix, ...(opened !== undefined && { silence }), ...(set === undefined && { remark: `. Nothing says where Redis is, so it was ${DEFAULT_URL}` }) })
      if (opened instanceof Cluster) await connectNodes(opened)
    }
  } catch (error) {
    if (opened !== undefined) dismiss(opened)
    throw error
  }
  leaveOpening?.()
  const store = new RedisStore(client, {
    prefix: options.prefix,
    timeout: options.timeout,
    // Others may work on a client that was given.
    patience: opened === undefined ? undefined : PATIENCE,
    report: logChanges(fastify)
  })
  fastify.addHook('onClose', async () => { await store.close() })
  if (options.startup === 'lazy') {
    if (opened instanceof Cluster) opened.once('ready', async () => { await connectNodes(opened) })
    if (client.status === 'wait') client.connect().catch(() => {}) // told to its listeners
    // Not by @fastify/redis, which would keep the app from booting until Redis is there.
    if (opened !== undefined) fastify.addHook('onClose', async () => { await closeClient(opened, () => opened.quit()) })
  } else if (opened !== undefined) {
    await handOver(fastify, opened)
  }
  return store
}

/**
 * A connection for programs without an app, which are about to end: the caller closes it, by `disconnect()`. Commands and
 * rights may be missing.
 *
 * @param url one of those that the option `redis` takes, other than `memory:`
 * @param timeout milliseconds without a sign of life after which the connection counts as broken
 * @param prefix of keys that may be touched
 * @param anywhere see `Target`
 * @throws OptionError (`SESSION_OPTION_INVALID`) where the URL makes no sense, or Redis cannot be reached or used within 5 s
 */
export async function connectAlone (url: string, timeout: number, prefix: string, anywhere = false): Promise<Redis | Cluster> {
  const client = openClient(url, timeout, { socketTimeout: timeout + PATIENCE })
  // A program that is about to end waits for no reconnection, and a new connection would keep it alive.
  leaveClosed(client)
  try {
    await untilUsable(client, { prefix, lenient: true, anywhere })
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

/** One line when Redis goes away and one when it comes back, instead of one per attempt to reconnect. */
function logChanges (fastify: FastifyInstance): Report {
  let away = false
  let closing = false
  fastify.addHook('preClose', async () => { closing = true })
  return (available, reason, advice) => {
    if (closing || (available && !away)) return
    away = !available
    if (available) fastify.log.info('the session store is available again')
    else fastify.log.error({ reason, advice }, 'the session store is not available: requests with a session are answered 503 until it is back')
  }
}

/**
 * Puts a connection into the care of @fastify/redis, in a context of its own, so that the application's `fastify.redis`
 * stays as it is. It closes by `quit()`.
 */
async function handOver (fastify: FastifyInstance, client: Redis | Cluster): Promise<void> {
  const quit = client.quit.bind(client)
  client.quit = async () => await closeClient(client, quit)
  await fastify.register(async (context) => {
    await context.register(fastifyRedis, { client: client as Redis, closeClient: true, namespace: `fastify-live-session-${++opened}` })
  })
}

let opened = 0
