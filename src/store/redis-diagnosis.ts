/**
 * Finding out why a client gets no connection that can be used: from its events, and where these say too little, by a look at
 * what is there.
 */
import { Redis, type Cluster, type RedisOptions } from 'ioredis'
import { probePort } from './port-probe.js'
import { nameOf, placeOf, portsOf, type Port } from './redis-place.js'
import { commonTrouble, troubleOf, type Trouble } from './redis-trouble.js'

/** A Cluster has this long to say how it is, milliseconds. */
const ASK_LIMIT = 1000

/** Listens to a client that is connecting. */
export class Diagnosis {
  readonly #client: Redis | Cluster
  readonly #note: (trouble: Trouble) => void
  readonly #listeners: ReadonlyArray<readonly [string, (...args: never[]) => void]>
  /** What Sentinels said since all of them were asked the last time. */
  #sentinels: Trouble[] = []
  /** Whether the nodes that a Cluster names were reached already. */
  #reached = false

  /**
   * @param note hears what each failure means
   */
  constructor (client: Redis | Cluster, note: (trouble: Trouble) => void) {
    this.#client = client
    this.#note = note
    this.#listeners = client.isCluster
      ? [['error', this.#onError], ['node error', this.#onNodeError], ['ready', this.#onReady]]
      : [['error', this.#onError], ['sentinelError', this.#onSentinelError]]
    for (const [event, listener] of this.#listeners) client.on(event, listener as () => void)
  }

  /** Leaves the client alone from now on. */
  close (): void {
    for (const [event, listener] of this.#listeners) this.#client.off(event, listener as () => void)
  }

  /**
   * Finds out what a client cannot tell. Takes a few seconds at most, and keeps no process from ending.
   *
   * @returns what is wrong, or `undefined` where nothing was found
   */
  async look (): Promise<Trouble | undefined> {
    const ports = portsOf(this.#client)
    const found = await Promise.all(ports.map(probePort))
    const troubles = found.filter((trouble) => trouble !== undefined)
    if (troubles.length === ports.length) return commonTrouble(troubles)
    const good = ports[found.indexOf(undefined)]!
    if (this.#client.isCluster) return await askCluster(this.#client as Cluster, good)
    return (this.#client as Redis).options.sentinels == null ? undefined : await askSentinel(this.#client as Redis, good)
  }

  readonly #onError = (error: Error & { lastNodeError?: Error, command?: { name: string } }): void => {
    // Whether it is in its database is asked of a connection as soon as it is ready.
    if (error.command?.name === 'select') return
    if (error.message.startsWith('All sentinels are unreachable')) {
      const trouble = commonTrouble(this.#sentinels)
      this.#sentinels = []
      if (trouble !== undefined) this.#note(trouble)
    } else {
      // A Cluster says only that it failed; why is in what its last node said.
      this.#note(troubleOf(error.lastNodeError ?? error, placeOf(this.#client)))
    }
  }

  readonly #onNodeError = (error: Error, node: string): void => {
    const named = (this.#client as Cluster).slots.length > 0 && !portsOf(this.#client).some((port) => nameOf(port) === node)
    // One that was reached before is away.
    if (!named || this.#reached) return
    const { reason } = troubleOf(error, node)
    this.#note({
      reason,
      advice: `the Cluster names ${node} as one of its nodes, which cannot be reached from here: correct its cluster-announce-ip, or pass a Cluster of ioredis with natMap`,
      lasting: false
    })
  }

  readonly #onReady = (): void => { this.#reached = true }

  readonly #onSentinelError = ({ message }: Error): void => {
    const [, sentinel = '', text = 'ERR No such master'] = /^(?:failed to connect|connected) to sentinel (\S+)(?: because (.*))?/s.exec(message) ?? []
    this.#sentinels.push(troubleWithSentinel(troubleOf(new Error(text), sentinel), sentinel))
  }
}

/** Sentinels have users and passwords of their own. */
function troubleWithSentinel (trouble: Trouble, sentinel: string): Trouble {
  if (trouble.reason !== 'NOAUTH' && trouble.reason !== 'WRONGPASS') return trouble
  return { ...trouble, advice: `the Sentinel ${sentinel} wants another password (${trouble.reason}): pass sentinelUsername and sentinelPassword in ioredis options` }
}

/** Asks one of the nodes that a Cluster client begins with what that client asks, but hears the answers. */
async function askCluster (cluster: Cluster, port: Port): Promise<Trouble | undefined> {
  try {
    const info = await ask({ ...cluster.options.redisOptions, host: port.host ?? 'localhost', port: port.port ?? 6379 }, async (node) => {
      await node.cluster('SLOTS')
      return String(await node.cluster('INFO'))
    })
    return info.includes('cluster_state:fail') ? troubleOf(new Error('CLUSTERDOWN'), nameOf(port)) : undefined
  } catch (error) {
    return troubleOf(error as Error, nameOf(port))
  }
}

/** Asks a Sentinel for the master, and looks whether that is of the kind that the client takes it for. */
async function askSentinel ({ options }: Redis, { host = 'localhost', port = 26379 }: Port): Promise<Trouble | undefined> {
  const { name, natMap, sentinelUsername, sentinelPassword, sentinelTLS, enableTLSForSentinelMode, tls } = options
  if (natMap != null) return undefined
  const [master, number] = await ask({
    host,
    port,
    ...(sentinelUsername != null && { username: sentinelUsername }),
    ...(sentinelPassword != null && { password: sentinelPassword }),
    ...(sentinelTLS != null && { tls: sentinelTLS })
  }, async (sentinel) => await sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name ?? '') as [string, string])
  const found = await probePort({ host: master, port: Number(number), tls: enableTLSForSentinelMode === true ? tls : undefined })
  // That it is away is no news.
  return found?.lasting === true ? found : undefined
}

/**
 * Asks something over a connection of its own, which is soon given up.
 *
 * @throws what the connection failed of, or the question
 */
async function ask<T> (options: RedisOptions, question: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({
    ...options,
    protocol: 2,
    lazyConnect: true,
    enableReadyCheck: false,
    disableClientInfo: true,
    retryStrategy: () => null,
    connectTimeout: ASK_LIMIT,
    commandTimeout: ASK_LIMIT
  })
  let failure: Error | undefined
  client.on('error', (error) => { failure ??= error })
  try {
    await client.connect()
    return await question(client)
  } catch (error) {
    throw failure ?? error
  } finally {
    client.disconnect()
  }
}
