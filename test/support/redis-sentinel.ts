/**
 * A group of real Redis servers under the watch of Sentinels, for tests of failover.
 *
 * ```ts
 * const group = await startSentinelGroup()
 * t.teardown(() => group.stop())
 * const successor = await group.failover('crash')
 * ```
 */
import { startAll, startRedis, stopAll, type RedisProcess } from './redis-process.js'
import { until } from './until.js'

const NAME = 'mymaster'
const SENTINELS = 3
const QUORUM = 2
const REPLICAS = 2

/** The group has to be complete and in sync within this, milliseconds: Sentinels that cannot be hurried need about a minute. */
const SETTLE_LIMIT = 90_000
/** Another master has to be in place within this, milliseconds. */
const FAILOVER_LIMIT = 20_000

/** The group restarts replication often: no waiting for further replicas before the data are sent. */
const SERVER_CONFIG = 'repl-diskless-sync-delay 0'

/** How the master is made to go: asked to hand over, killed, or frozen. */
export type FailoverKind = 'ask' | 'crash' | 'freeze'

/** The flat list of names and values that Sentinel answers, as a map. */
function toMap (reply: unknown): Map<string, string> {
  const flat = reply as string[]
  return new Map(Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!]))
}

/** One master, its replicas, and the Sentinels that watch them. Made by `startSentinelGroup`. */
export class SentinelGroup {
  /** What the Sentinels call the master. */
  readonly name = NAME
  /** All the servers, whatever their role is at the moment. */
  readonly servers: readonly RedisProcess[]
  /** The Sentinels: each has a `host` and a `port`, and can be killed or frozen like any other server. */
  readonly sentinels: readonly RedisProcess[]

  /** For `startSentinelGroup`, which sees to it that the group is complete. */
  constructor (servers: readonly RedisProcess[], sentinels: readonly RedisProcess[]) {
    this.servers = servers
    this.sentinels = sentinels
  }

  /** Where the product finds the group: `redis+sentinel://host:port,…/name`. */
  get url (): string {
    return `redis+sentinel://${this.sentinels.map(({ host, port }) => `${host}:${port}`).join(',')}/${this.name}`
  }

  get #watching (): RedisProcess[] { return this.sentinels.filter(sentinel => sentinel.state === 'running') }

  /**
   * The server that is the master according to every Sentinel that runs.
   *
   * @throws Error while they do not agree, or where none of them answers within 1 s
   */
  async master (): Promise<RedisProcess> {
    const addresses = await Promise.all(this.#watching.map(sentinel => sentinel.ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.name)))
    const ports = new Set(addresses.map(address => Number((address as string[] | null)?.[1])))
    const [port] = ports
    const master = this.servers.find(server => server.port === port)
    if (ports.size !== 1 || master === undefined) throw new Error(`The Sentinels name ${[...ports].join(' and ') || 'nobody'} as master`)
    return master
  }

  /**
   * The servers that run and are not the master.
   *
   * @throws Error as `master` does
   */
  async replicas (): Promise<RedisProcess[]> {
    const master = await this.master()
    return this.servers.filter(server => server !== master && server.state === 'running')
  }

  /**
   * Makes another server the master, and resolves with that one when it is the master and all running Sentinels say so.
   * The others may still be about to follow: see `settled`.
   *
   * @param kind `ask` (the default) has the Sentinels replace a healthy master, which then becomes a replica. `crash`
   *   kills it and `freeze` stops it; it stays like that until it is restarted or thawed, and is made a replica then
   * @throws Error where nobody took over within 20 s
   */
  async failover (kind: FailoverKind = 'ask'): Promise<RedisProcess> {
    const former = await this.master()
    if (kind === 'crash') await former.kill()
    else if (kind === 'freeze') former.freeze()
    else {
      // Refused for as long as the Sentinel has heard too little from the replicas.
      await until('a Sentinel accepts to fail over', FAILOVER_LIMIT, () => this.#watching[0]?.ask('SENTINEL', 'FAILOVER', this.name))
    }
    return await until('another server is the master', FAILOVER_LIMIT, async () => {
      const master = await this.master()
      if (master === former) return undefined
      const [role] = await master.ask('ROLE') as [string]
      return role === 'master' ? master : undefined
    })
  }

  /**
   * Resolves when every running replica is in sync with the master, and every running Sentinel knows all the other
   * Sentinels and has seen the replicas in sync: then the next failover can be done.
   *
   * @throws Error where that takes more than 90 s
   */
  async settled (): Promise<void> {
    await until('the replicas are in sync and known to the Sentinels', SETTLE_LIMIT, async () => {
      const master = await this.master()
      const replicas = await this.replicas()
      const inSync = await Promise.all(replicas.map(replica => this.#follows(replica, master)))
      if (inSync.includes(false)) return false
      const informed = await Promise.all(this.#watching.map(sentinel => this.#isInformed(sentinel, replicas)))
      return !informed.includes(false)
    })
  }

  async #follows (replica: RedisProcess, master: RedisProcess): Promise<boolean> {
    const [role, , port, link] = await replica.ask('ROLE') as [string, string, number, string]
    return role === 'slave' && port === master.port && link === 'connected'
  }

  async #isInformed (sentinel: RedisProcess, replicas: readonly RedisProcess[]): Promise<boolean> {
    const master = toMap(await sentinel.ask('SENTINEL', 'MASTER', this.name))
    if (master.get('flags') !== 'master' || Number(master.get('num-other-sentinels')) !== this.sentinels.length - 1) return false
    const known = (await sentinel.ask('SENTINEL', 'REPLICAS', this.name) as unknown[]).map(toMap)
    return replicas.every(({ port }) => known.some(replica =>
      replica.get('port') === String(port) && replica.get('flags') === 'slave' && replica.get('master-link-status') === 'ok'))
  }

  /** Ends all servers and Sentinels. May be called again. */
  async stop (): Promise<void> {
    await stopAll([...this.sentinels, ...this.servers])
  }
}

/**
 * What one Sentinel is told. A master counts as down after 1 s; a failover that has not come about within 3 s is given
 * up, and tried again after 6 s.
 */
function sentinelConfig (master: RedisProcess): string {
  return [
    `sentinel monitor ${NAME} ${master.host} ${master.port} ${QUORUM}`,
    `sentinel down-after-milliseconds ${NAME} 1000`,
    `sentinel failover-timeout ${NAME} 3000`,
    `sentinel parallel-syncs ${NAME} ${REPLICAS}`
  ].join('\n')
}

/**
 * Has a Sentinel talk to the others and look at the servers more often than every 2 and 10 s. Sentinels before Redis 7
 * cannot be told so; with them everything works as well, but takes some seconds longer.
 */
async function hurry (sentinel: RedisProcess): Promise<void> {
  await sentinel.ask('SENTINEL', 'DEBUG', 'publish-period', '200', 'info-period', '500').catch(() => {})
}

/**
 * Starts a master, two replicas and three Sentinels, all on 127.0.0.1, and resolves when the replicas are in sync and
 * the Sentinels know them and each other.
 *
 * @throws Error where a server does not start, or the group is not complete within 90 s; nothing is left running then
 */
export async function startSentinelGroup (): Promise<SentinelGroup> {
  const started: RedisProcess[] = []
  try {
    const master = await startRedis({ config: SERVER_CONFIG })
    started.push(master)
    const config = `${SERVER_CONFIG}\nreplicaof ${master.host} ${master.port}`
    const replicas = await startAll(Array.from({ length: REPLICAS }, () => ({ config })))
    started.push(...replicas)
    await until('the replicas are in sync', SETTLE_LIMIT, async () => {
      const roles = await Promise.all(replicas.map(replica => replica.ask('ROLE')))
      return (roles as string[][]).every(([, , , link]) => link === 'connected')
    })
    const sentinels = await startAll(Array.from({ length: SENTINELS }, () => ({ sentinel: true, config: sentinelConfig(master) })))
    started.push(...sentinels)
    await Promise.all(sentinels.map(hurry))
    const group = new SentinelGroup([master, ...replicas], sentinels)
    await group.settled()
    return group
  } catch (error) {
    await stopAll(started)
    throw error
  }
}
