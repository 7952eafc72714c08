/**
 * A real Redis Cluster for tests.
 *
 * ```ts
 * const cluster = await startCluster()
 * t.teardown(() => cluster.stop())
 * const node = await cluster.masterOf('session:…')
 * ```
 */
import { startAll, stopAll, type RedisProcess } from './redis-process.js'
import { until } from './until.js'

const MASTERS = 3
const SLOTS = 16_384

/** The nodes have to know each other, and later to agree that all is well, within this, milliseconds. */
const READY_LIMIT = 20_000

/** A node that is silent for 1.5 s counts as down; its replica needs about another second to take over. */
const CONFIG = `
cluster-enabled yes
cluster-node-timeout 1500
repl-diskless-sync-delay 0
`

/** What a node says about itself. */
interface Claim {
  node: RedisProcess
  id: string
  master: boolean
  /** The higher one is right where two nodes claim the same slot. */
  epoch: number
  /** First and last slot of each range. */
  ranges: Array<[number, number]>
}

/** Reads the line of `CLUSTER NODES` in which a node describes itself. */
async function claimOf (node: RedisProcess): Promise<Claim> {
  const lines = (await node.ask('CLUSTER', 'NODES') as string).split('\n')
  const [id = '', , flags = '', , , , epoch, , ...slots] = lines.find(line => line.includes('myself'))?.split(' ') ?? []
  return {
    node,
    id,
    master: flags.split(',').includes('master'),
    epoch: Number(epoch),
    // What stands in brackets are slots on the move, which still count as the old node's.
    ranges: slots.filter(range => !range.startsWith('[')).map(range => {
      const [first, last = first] = range.split('-').map(Number)
      return [first!, last!]
    })
  }
}

/** The nodes of one Cluster. Made by `startCluster`. */
export class RedisCluster {
  /** All nodes, whatever their role is at the moment; in the beginning the masters come first. */
  readonly nodes: readonly RedisProcess[]

  /** For `startCluster`, which makes a Cluster of the nodes. */
  constructor (nodes: readonly RedisProcess[]) {
    this.nodes = nodes
  }

  /** Where the product finds the Cluster: `redis+cluster://host:port,…`. */
  get url (): string {
    return `redis+cluster://${this.nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`
  }

  get #running (): RedisProcess[] { return this.nodes.filter(node => node.state === 'running') }

  /** The slot that a key belongs to. */
  async slotOf (key: string): Promise<number> {
    const [node] = this.#running
    if (node === undefined) throw new Error('No node of the Cluster is running')
    return await node.ask('CLUSTER', 'KEYSLOT', key) as number
  }

  /**
   * The running node that is the master for a key at this moment.
   *
   * @throws Error where there is none: as long as a replica has not taken over from a master that is gone (see `until`)
   */
  async masterOf (key: string): Promise<RedisProcess> {
    const slot = await this.slotOf(key)
    const claims = (await Promise.all(this.#running.map(claimOf)))
      .filter(({ master, ranges }) => master && ranges.some(([first, last]) => first <= slot && slot <= last))
      .sort((a, b) => b.epoch - a.epoch)
    if (claims[0] === undefined) throw new Error(`No running node is the master of slot ${slot}`)
    return claims[0].node
  }

  /**
   * Gives one slot to another master. The slot has to be empty: no key is moved. Clients that do not know of it are
   * answered with MOVED.
   *
   * @throws Error where a node refuses
   */
  async moveSlot (slot: number, to: RedisProcess): Promise<void> {
    const claims = await Promise.all(this.#running.map(claimOf))
    const source = claims.find(({ master, ranges }) => master && ranges.some(([first, last]) => first <= slot && slot <= last))
    const target = claims.find(({ node }) => node === to)
    if (source === undefined || target === undefined) throw new Error(`Slot ${slot} cannot be moved: a node is away`)
    // Only with this mark does the new owner take a higher epoch, by which the others believe it.
    await to.ask('CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', source.id)
    for (const { node, master } of [target, source, ...claims.filter(claim => claim !== target && claim !== source)]) {
      if (master) await node.ask('CLUSTER', 'SETSLOT', String(slot), 'NODE', target.id)
    }
  }

  /**
   * Resolves when every running node says that all slots are served, and every running replica is in sync.
   *
   * @throws Error where that takes more than 20 s
   */
  async settled (): Promise<void> {
    await until('the state of the Cluster is ok on every node', READY_LIMIT, async () => {
      const healthy = await Promise.all(this.#running.map(async node => {
        const info = await node.ask('CLUSTER', 'INFO') as string
        const [role, , , link] = await node.ask('ROLE') as string[]
        return info.includes('cluster_state:ok') && info.includes(`cluster_slots_ok:${SLOTS}`) &&
          info.includes(`cluster_known_nodes:${this.nodes.length}`) && (role === 'master' || link === 'connected')
      }))
      return !healthy.includes(false)
    })
  }

  /** Ends all nodes. May be called again. */
  async stop (): Promise<void> {
    await stopAll(this.nodes)
  }
}

/** Makes a Cluster of nodes that know nothing of each other yet: first the masters, then as many replicas. */
async function join (nodes: readonly RedisProcess[]): Promise<void> {
  const masters = nodes.slice(0, MASTERS)
  await Promise.all(nodes.map((node, i) => node.ask('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1))))
  await Promise.all(masters.map((node, i) => {
    const [first, end] = [Math.ceil(i * SLOTS / MASTERS), Math.ceil((i + 1) * SLOTS / MASTERS)]
    return node.ask('CLUSTER', 'ADDSLOTS', ...Array.from({ length: end - first }, (_, slot) => String(first + slot)))
  }))
  // Everybody meets everybody at once: left to gossip alone, the news would take seconds.
  await Promise.all(nodes.flatMap((node, i) =>
    nodes.slice(i + 1).map(other => node.ask('CLUSTER', 'MEET', other.host, String(other.port)))))
  await until('all nodes have met', READY_LIMIT, async () => {
    const views = await Promise.all(nodes.map(node => node.ask('CLUSTER', 'NODES') as Promise<string>))
    return views.every(view => view.trim().split('\n').length === nodes.length && !view.includes('handshake'))
  })
  const claims = await Promise.all(masters.map(claimOf))
  await Promise.all(claims.map(({ id }, i) => nodes[MASTERS + i]!.ask('CLUSTER', 'REPLICATE', id)))
  await until('every node knows the replicas', READY_LIMIT, async () => {
    const views = await Promise.all(nodes.map(node => node.ask('CLUSTER', 'NODES') as Promise<string>))
    return views.every(view => view.match(/\bslave\b/g)?.length === nodes.length - MASTERS)
  })
}

/**
 * Starts three masters with a replica each, on 127.0.0.1 only, and resolves when every node finds the Cluster ok. Redis
 * itself makes every new Cluster wait for 2 s.
 *
 * @throws Error where a node does not start, or the Cluster is not ok within 20 s; nothing is left running then
 */
export async function startCluster (): Promise<RedisCluster> {
  const nodes = await startAll(Array.from({ length: 2 * MASTERS }, () => ({ config: CONFIG })))
  const cluster = new RedisCluster(nodes)
  try {
    await join(nodes)
    await cluster.settled()
    return cluster
  } catch (error) {
    await cluster.stop()
    throw error
  }
}
