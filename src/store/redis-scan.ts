/**
 * Going through all records without holding Redis up.
 */
import type { Cluster, Redis } from 'ioredis'
import { StoreUnavailableError } from '../errors.js'
import { patiently } from './attention.js'
import { cutWhereSilent } from './redis-silence.js'
import { publicError } from './redis-transport.js'
import { isId } from './record.js'

/** Keys per step: a step takes Redis well below a millisecond. */
const STEP = 100

/**
 * The keys of all hashes under a prefix that are as long as a record's, of all masters where the client is a Cluster.
 *
 * @param step how many keys Redis looks at in one go
 * @param bound puts an answer of a node within bounds. Default: it is waited for as long as the client does
 */
export async function * scanKeys (client: Redis | Cluster, prefix: string, step: number, bound = <T>(answer: Promise<T>, _node: Redis): Promise<T> => answer): AsyncGenerator<string[]> {
  const pattern = `${prefix.replace(/[\\*?[\]]/g, '\\$&')}${'?'.repeat(22)}`
  for (const node of 'nodes' in client ? client.nodes('master') : [client]) {
    // ioredis connects the nodes of a Cluster when they are first used.
    if (node.status === 'wait') await node.connect().catch(() => {})
    let cursor = '0'
    do {
      const [next, keys] = await bound(node.scan(cursor, 'MATCH', pattern, 'COUNT', step, 'TYPE', 'hash'), node)
      cursor = next
      if (keys.length > 0) yield keys
    } while (cursor !== '0')
  }
}

/**
 * The ids of all hashes under a prefix, of all masters where the client is a Cluster.
 *
 * @param bounds.timeout milliseconds that one step may take
 * @param bounds.patience milliseconds that a connection may stay silent beyond that; then it is cut
 * @throws StoreUnavailableError where a node is away: what is answered is everything, or an error
 */
export async function * scanIds (client: Redis | Cluster, prefix: string, bounds: { timeout: number, patience: number }): AsyncGenerator<string[]> {
  for await (const keys of scanKeys(client, prefix, STEP, (answer, node) => inTime(answer, node, bounds))) {
    const ids = keys.map((key) => key.slice(prefix.length)).filter(isId)
    if (ids.length > 0) yield ids
  }
}

async function inTime<T> (answer: Promise<T>, { stream }: Redis, { timeout, patience }: { timeout: number, patience: number }): Promise<T> {
  let isWaiting = true
  const answered = (): void => { isWaiting = false }
  answer.then(answered, answered)
  let callOff: (() => void) | undefined
  try {
    return await Promise.race([answer, new Promise<never>((_resolve, reject) => {
      callOff = patiently(timeout, () => {
        cutWhereSilent(stream, patience, () => isWaiting)
        reject(new StoreUnavailableError(`no answer within ${timeout} ms`))
      })
    })])
  } catch (error) {
    throw publicError(error)
  } finally {
    callOff?.()
  }
}
