/**
 * One connection that hears which sessions ended.
 *
 * It is a connection of its own, because one that subscribes takes no other commands (https://redis.io/docs/latest/develop/pubsub/).
 * On a Cluster it leads to any node: what is published reaches all of them. When it breaks, or its server stops answering,
 * another one is opened; what was told meanwhile is lost, so the listener is told that it has to look.
 */
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { patiently } from './attention.js'
import { isId } from './record.js'
import type { EndListener, EndReason, Subscription } from './store.js'

/** How often the server is asked for a sign of life, and how long it may take, milliseconds. */
const PING_INTERVAL = 2000
const PING_LIMIT = 1000
/** Milliseconds until the next attempt to connect. */
const RETRY_MIN = 50
const RETRY_MAX = 1000

const REASONS: ReadonlySet<string> = new Set<EndReason>(['destroyed', 'ended', 'expired', 'reused'])

/**
 * Subscribes to a channel of ends; see `Store.subscribe`.
 *
 * @param client is not used for it, only its options
 */
export function subscribeToEnds (client: Redis | Cluster, channel: string, listener: EndListener): Subscription {
  let closed = false
  let delay = RETRY_MIN
  let connection: Redis | undefined
  let timer: NodeJS.Timeout | undefined

  function connect (): void {
    if (closed) return
    const node = nodeOf(client)
    if (node === undefined) {
      again()
      return
    }
    const current = connection = node.duplicate(OPTIONS)
    current.on('error', () => {})
    // An open subscription is no reason for the process to go on.
    current.on('connect', () => { (current as unknown as { stream: { unref? (): void } }).stream.unref?.() })
    current.once('end', () => {
      clearTimeout(timer)
      // Only this ends the connections of a Sentinel client's failover detector. Elsewhere, disconnecting what is closed
      // already would only keep the process for `disconnectTimeout`.
      if (current.options.sentinels != null) current.disconnect()
      if (current === connection) again()
    })
    current.on('message', (_: string, message: string) => {
      const [id = '', reason = ''] = message.split(' ')
      // A connection that is being closed may still bring something.
      if (!closed && isId(id) && REASONS.has(reason)) listener.ended(id, reason as EndReason)
    })
    current.connect().then(() => current.subscribe(channel)).then(() => {
      delay = RETRY_MIN
      listener.connected()
      watch(current)
    }).catch(() => { current.disconnect() })
  }

  function again (): void {
    if (closed) return
    timer = setTimeout(connect, delay + Math.random() * delay).unref()
    delay = Math.min(delay * 2, RETRY_MAX)
  }

  /** A server that is frozen, or gone without a word, looks like one that has nothing to tell. */
  function watch (current: Redis): void {
    timer = setTimeout(() => {
      const callOff = patiently(PING_LIMIT, () => { current.disconnect() })
      current.ping().finally(callOff).then(() => {
        if (!closed && current === connection) watch(current)
      }, () => { current.disconnect() })
    }, PING_INTERVAL).unref()
  }

  connect()
  return {
    close: async () => {
      closed = true
      clearTimeout(timer)
      connection?.disconnect()
    }
  }
}

/** The connection is made when asked for, once; whether to try again is decided here. */
const OPTIONS: Partial<RedisOptions> = {
  lazyConnect: true,
  enableReadyCheck: false,
  enableOfflineQueue: true,
  autoResubscribe: false,
  keyPrefix: '',
  connectTimeout: 2000,
  commandTimeout: 2000,
  maxRetriesPerRequest: 0,
  retryStrategy: () => null,
  reconnectOnError: null
}

/** A connection whose options lead to a server: on a Cluster that of any master, another one each time. */
function nodeOf (client: Redis | Cluster): Redis | undefined {
  if (!('nodes' in client)) return client
  const masters = client.nodes('master')
  return masters[Math.floor(Math.random() * masters.length)]
}
