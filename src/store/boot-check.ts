/**
 * Waiting at boot for a Redis that sessions can be kept in, and finding out why there is none.
 */
import { Redis, type Cluster } from 'ioredis'
import { OptionError } from '../errors.js'
import { checkConnection, databaseOf, troubleWithScripts } from './connection-check.js'
import { probePort } from './port-probe.js'
import { nameOf, placeOf, portsOf } from './redis-place.js'
import { commonTrouble, NO_ANSWER, troubleOf, type Trouble } from './redis-trouble.js'

/** Opening a connection at boot may take this long, milliseconds: less than Fastify's own limit of 10 s. */
const LIMIT = 5000
/** When it is looked at what listens there, if there is no connection yet: soon, and once more before the end, milliseconds. */
const LOOKS = [300, 3500]
/** What cannot be used now is checked again after this, milliseconds. */
const INTERVAL = 200
/** A Cluster has this long to say how it is, milliseconds. */
const ASK_LIMIT = 1000

/** What is to be known besides. */
export interface BootOptions {
  /** Of the keys of sessions. */
  prefix: string
  /** See `Target`. */
  silence?: number
  lenient?: boolean
  anywhere?: boolean
  /** A sentence to add to what is wrong. */
  remark?: string
}

/**
 * Waits until a client is connected to a Redis that can be used. Where waiting will not help, it is given up at once.
 *
 * @throws OptionError (`SESSION_OPTION_INVALID`) where that is not so within 5 s; it names host and port, and what to do
 */
export async function untilUsable (client: Redis | Cluster, { remark = '', ...options }: BootOptions): Promise<void> {
  const trouble = await new BootCheck(client, options).outcome()
  if (trouble === undefined) return
  const { reason, advice, lasting } = trouble
  throw new OptionError('redis (SESSION_REDIS)', lasting
    ? `${advice}${remark}`
    : `Redis could not be reached within ${LIMIT / 1000} s (${reason}): ${advice}${remark}. Start it, correct the address, set startup to lazy to boot without it, or use memory: to try things out`)
}

class BootCheck {
  readonly #client: Redis | Cluster
  readonly #options: Omit<BootOptions, 'remark'>
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #listeners: ReadonlyArray<readonly [string, (...args: never[]) => void]>
  /** What Sentinels said since all of them were asked the last time. */
  #sentinels: Trouble[] = []
  #last: Trouble = { reason: NO_ANSWER, advice: '', lasting: false }
  #finish: (trouble: Trouble | undefined) => void = () => {}

  constructor (client: Redis | Cluster, options: Omit<BootOptions, 'remark'>) {
    this.#client = client
    this.#options = options
    this.#listeners = [
      ['ready', this.#check],
      ['error', this.#onError],
      ['node error', this.#onNodeError],
      ['sentinelError', this.#onSentinelError],
      ['end', this.#onEnd]
    ]
    this.#note(troubleOf(undefined, placeOf(client)))
  }

  /** @returns why the client cannot be used, or `undefined` as soon as it can */
  async outcome (): Promise<Trouble | undefined> {
    const client = this.#client
    try {
      return await new Promise((resolve) => {
        this.#finish = resolve
        for (const [event, listener] of this.#listeners) client.on(event, listener as () => void)
        for (const delay of LOOKS) this.#later(delay, () => { this.#look().catch(() => {}) })
        this.#later(LIMIT, () => { resolve(this.#last) })
        if (client.status === 'ready') this.#check()
        else if (client.status === 'wait') client.connect().catch(() => {}) // told to its listeners
      })
    } finally {
      for (const timer of this.#timers) clearTimeout(timer)
      for (const [event, listener] of this.#listeners) client.off(event, listener as () => void)
    }
  }

  #later (delay: number, act: () => void): void {
    this.#timers.add(setTimeout(act, delay))
  }

  #note (trouble: Trouble | undefined): void {
    if (trouble === undefined) return
    // That there was no answer says less than anything that was said before.
    if (trouble.reason !== NO_ANSWER || this.#last.reason === NO_ANSWER) this.#last = trouble
    if (trouble.lasting) this.#finish(trouble)
  }

  readonly #check = (): void => {
    if (this.#client.status !== 'ready') return // the next 'ready' goes on from here
    const again = (): void => { this.#later(INTERVAL, this.#check) }
    troubleWith(this.#client, this.#options).then((trouble) => {
      if (trouble === undefined) this.#finish(undefined)
      else {
        this.#note(trouble)
        again()
      }
    }, again)
  }

  readonly #onError = (error: Error & { lastNodeError?: Error, command?: { name: string } }): void => {
    // Whether it is in its database is asked of the connection as soon as it is ready.
    if (error.command?.name === 'select') return
    if (error.message.startsWith('All sentinels are unreachable')) {
      this.#note(commonTrouble(this.#sentinels))
      this.#sentinels = []
    } else {
      // A Cluster says only that it failed; why is in what its last node said.
      this.#note(troubleOf(error.lastNodeError ?? error, placeOf(this.#client)))
    }
  }

  readonly #onNodeError = (error: Error, node: string): void => {
    if (portsOf(this.#client).some((port) => nameOf(port) === node)) return
    const { reason } = troubleOf(error, node)
    this.#note({
      reason,
      advice: `the Cluster names ${node} as one of its nodes, which cannot be reached from here: correct its cluster-announce-ip, or pass a Cluster of ioredis with natMap`,
      lasting: false
    })
  }

  readonly #onSentinelError = ({ message }: Error): void => {
    const [, sentinel = '', text = 'ERR No such master'] = /^(?:failed to connect|connected) to sentinel (\S+)(?: because (.*))?/s.exec(message) ?? []
    this.#sentinels.push(troubleWithSentinel(troubleOf(new Error(text), sentinel), sentinel))
  }

  readonly #onEnd = (): void => {
    // This client will not try again by itself.
    this.#look().then(() => { this.#finish(this.#last) }, () => { this.#finish(this.#last) })
  }

  /** Finds out what a client cannot tell. */
  async #look (): Promise<void> {
    if (this.#client.status === 'ready') return
    const ports = portsOf(this.#client)
    const found = await Promise.all(ports.map(probePort))
    const troubles = found.filter((trouble) => trouble !== undefined)
    if (troubles.length === ports.length) this.#note(commonTrouble(troubles))
    else if (this.#client.isCluster) this.#note(await askCluster(this.#client as Cluster, found.indexOf(undefined)))
  }
}

async function troubleWith (client: Redis | Cluster, options: Omit<BootOptions, 'remark'>): Promise<Trouble | undefined> {
  if (!client.isCluster) return await checkConnection(client as Redis, { database: databaseOf(client as Redis), ...options })
  return options.lenient === true ? undefined : await troubleWithScripts(client, options.prefix, options.silence)
}

/** Sentinels have users and passwords of their own. */
function troubleWithSentinel (trouble: Trouble, sentinel: string): Trouble {
  if (trouble.reason !== 'NOAUTH' && trouble.reason !== 'WRONGPASS') return trouble
  return { ...trouble, advice: `the Sentinel ${sentinel} wants another password (${trouble.reason}): pass sentinelUsername and sentinelPassword in ioredis options` }
}

/** Asks one of the nodes that a Cluster client begins with what that client asks, but hears the answers. */
async function askCluster (cluster: Cluster, index: number): Promise<Trouble | undefined> {
  const port = portsOf(cluster)[index]!
  const { host, port: number } = port
  const node = new Redis({
    ...cluster.options.redisOptions,
    host: host ?? 'localhost',
    port: number ?? 6379,
    protocol: 2,
    lazyConnect: true,
    enableReadyCheck: false,
    disableClientInfo: true,
    retryStrategy: () => null,
    connectTimeout: ASK_LIMIT,
    commandTimeout: ASK_LIMIT
  })
  let failure: Error | undefined
  node.on('error', (error) => { failure ??= error })
  try {
    await node.connect()
    await node.cluster('SLOTS')
    const info = String(await node.cluster('INFO'))
    return /cluster_state:fail/.test(info) ? troubleOf(new Error('CLUSTERDOWN'), nameOf(port)) : undefined
  } catch (error) {
    return troubleOf(failure ?? error as Error, nameOf(port))
  } finally {
    node.disconnect()
  }
}
