/** What the tests of the index are written with: a store whose steps can be held, and sessions without a browser. */
import type { Test } from 'tap'
import { Cluster, type Redis } from 'ioredis'
import { digestOf, newId, newSecret } from '../../src/cookie/token.js'
import { MemoryStore } from '../../src/store/memory.js'
import { RedisStore } from '../../src/store/redis.js'
import type { Rules, Store, Write, Written } from '../../src/store/store.js'
import { UserField } from '../../src/users/user-field.js'
import { UserIndex, type Member, type UserIndexOptions } from '../../src/users/user-index.js'
import { RULES, set } from '../contract/kit.js'
import { ready } from '../contract/redis-subject.js'
import { Gate } from '../support/browser.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis } from '../support/redis-process.js'

export const USERS: Rules = { ...RULES, users: true }

/** A store, and what tests do behind its back. */
export interface Place {
  name: string
  store: Store
  /** Loses a user's list. */
  lose (user: string): Promise<void>
  /** Makes a user's list older, that is, what it says about itself. */
  age (user: string, ms: number): Promise<void>
  /** Makes the tickets in a user's list older; the records stay as they are. */
  ageTickets (user: string, ms: number): Promise<void>
  /** The members of a user's list, facts included. */
  members (user: string): Promise<string[]>
}

function onRedis (name: string, client: Redis | Cluster): Place {
  const prefix = 'session:'
  const key = (user: string): string => `${prefix}@user:${user}`
  return {
    name,
    store: new RedisStore(client, { prefix, timeout: 3000 }),
    lose: async (user) => { await client.del(key(user)) },
    age: async (user, ms) => {
      for (const fact of await client.zrangebyscore(key(user), '-inf', '(0')) await client.zincrby(key(user), ms, fact)
    },
    ageTickets: async (user, ms) => {
      const pairs = await client.zrangebyscore(key(user), '(0', '+inf', 'WITHSCORES')
      for (let i = 0; i < pairs.length; i += 2) {
        await client.zrem(key(user), pairs[i]!)
        await client.zadd(key(user), pairs[i + 1]!, pairs[i]!.replace(/\d+$/, (time) => String(Number(time) - ms)))
      }
    },
    members: async (user) => await client.zrange(key(user), 0, '-1')
  }
}

/** Runs tests on one Redis and on a Cluster. */
export async function onRedisAndCluster (t: Test, run: (t: Test, place: Place) => Promise<void>): Promise<void> {
  await t.test('on a single Redis', async (t) => {
    const redis = await startRedis()
    t.teardown(() => redis.stop())
    await run(t, onRedis('redis', await ready(redis.client())))
  })
  await t.test('on a Cluster', async (t) => {
    const cluster = await startCluster()
    t.teardown(() => cluster.stop())
    const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })), { retryDelayOnFailover: 0 })
    client.on('error', () => {})
    t.teardown(() => { client.disconnect() })
    await run(t, onRedis('cluster', await ready(client)))
  })
}

/** A store in memory for tests that need no look behind it. */
export function memoryStore (): Store {
  return new MemoryStore({ prefix: 'session:' })
}

/** Holds calls of a store at gates: the first `count` calls of a method, before or after they are done. */
export function held (store: Store, method: keyof Store, when: 'before' | 'after', count = 1): { store: Store, gate: Gate } {
  const gate = new Gate()
  let left = count
  const proxy = new Proxy(store, {
    get (target, name) {
      const own = Reflect.get(target, name) as (...args: unknown[]) => unknown
      if (name !== method) return own.bind(target)
      return async (...args: unknown[]) => {
        const isHeld = left-- > 0
        if (isHeld && when === 'before') await gate.pass()
        const result = await own.apply(target, args)
        if (isHeld && when === 'after') await gate.pass()
        return result
      }
    }
  })
  return { store: proxy, gate }
}

export function indexOn (store: Store, options: Partial<UserIndexOptions> = {}): UserIndex {
  return new UserIndex({ store, rules: USERS, timeout: 3000, field: new UserField('user'), maxSessions: 0, onLimit: 'end-oldest', ...options })
}

/** One session as a request sees it. */
export class Visitor implements Member {
  id = newId()
  readonly digest = digestOf(newSecret())
  readonly known = new Map<string, string>()
  bound: Member['bound']
  readonly entered: Member['entered'] = new Set()
  idleTimeout = USERS.idleTimeout / 1000
  replaces: readonly string[] = []
  authenticated: Member['authenticated']
  device: Member['device']

  storedText (name: string): string | null {
    return this.known.get(name) ?? null
  }

  async create (index: UserIndex, data: Record<string, string>): Promise<Written | undefined> {
    const written = await index.create(this.id, this.digest, write(data), this)
    if (written?.left !== undefined || written?.barred !== true) for (const [name, text] of Object.entries(data)) this.known.set(name, text)
    return written
  }

  async write (index: UserIndex, data: Record<string, string>): Promise<Written | undefined> {
    const written = await index.write(this.id, this.digest, write(data), this)
    if (written !== undefined) for (const [name, text] of Object.entries(data)) this.known.set(name, text)
    return written
  }

  async remove (index: UserIndex, field: string): Promise<Written | undefined> {
    const written = await index.write(this.id, this.digest, { ...write({}), operations: [{ type: 'delete', field }] }, this)
    if (written !== undefined) this.known.delete(field)
    return written
  }

  /** A look at the same session by another request. */
  again (): Visitor {
    const other = Object.assign(new Visitor(), { id: this.id, digest: this.digest, bound: this.bound })
    for (const [name, text] of this.known) other.known.set(name, text)
    return other
  }
}

function write (data: Record<string, string>): Write {
  return { operations: Object.entries(data).map(([name, text]) => set(name, text)), settings: {}, touch: 'never', mode: 'together' }
}

/** A new session of a user. */
export async function login (index: UserIndex, user: string): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.create(index, { user })
  return visitor
}

/** The ids of the live sessions that are a user's, by looking at all records. */
export async function aliveOf (store: Store, user: string): Promise<string[]> {
  const alive: string[] = []
  for await (const ids of store.scan()) {
    for (const description of await store.describe(ids)) if (description?.bound?.user === user) alive.push(description.id)
  }
  return [...new Set(alive)].sort()
}

/** The ids in a user's list. */
export async function listed (index: UserIndex, user: string): Promise<string[]> {
  return (await index.list(user)).map(({ id }) => id).sort()
}
