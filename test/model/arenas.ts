/** Where parties take place: two processes of the application on a real Redis, or every order of the store's calls. */
import { once } from 'node:events'
import type fc from 'fast-check'
import type { Redis } from 'ioredis'
import type { Test } from 'tap'
import type { Store } from '../../src/store/store.js'
import type { RedisProcess } from '../support/redis-process.js'
import { startApplication, type Application, type ApplicationOptions, type Product } from './application.js'
import { into, type Send } from './client.js'
import { pass, records } from './keyspace.js'
import type { Arena } from './parties.js'

/** Times of the applications under test, seconds: so long that only `pass` can make them matter. */
export const TIMES = { idleTimeout: 95, touchInterval: 3, lifetime: 165 } as const
export const RULES = { idleTimeout: 95_000, touchInterval: 3_000, lifetime: 165_000 } as const

/** Milliseconds that Redis has for a command, where a test is not about a slow Redis. The machine may be busy. */
const PATIENCE = 5000

/** Applications of this process with connections of their own, as two processes would have them. */
export interface Applications {
  readonly applications: readonly Application[]
  readonly servers: readonly Send[]
  close (): Promise<void>
}

export async function startApplications (product: Product, options: ApplicationOptions, count = 2): Promise<Applications> {
  const applications = await Promise.all(Array.from({ length: count }, () => startApplication(product, { timeout: PATIENCE, ...TIMES, ...options })))
  return {
    applications,
    servers: applications.map(into),
    close: async () => { await Promise.all(applications.map(({ app }) => app.close())) }
  }
}

/** What has to be cleaned up in the end: a test's own list, or another. */
export type Cleanup = Pick<Test, 'teardown'>

/** The product's own store on a Redis. */
export async function redisStore (t: Cleanup, redis: RedisProcess, { RedisStore }: Product): Promise<Store> {
  const client = redis.client({ enableOfflineQueue: false, maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false })
  t.teardown(() => { client.disconnect() })
  if (client.status !== 'ready') await once(client, 'ready')
  return new RedisStore(client, { timeout: PATIENCE })
}

/** An arena on a real Redis, emptied before. */
export async function redisArena (servers: readonly Send[], witness: Redis, fence = 0): Promise<Arena> {
  await witness.flushall()
  return {
    servers,
    fence,
    now: () => performance.now(),
    run: async (clients) => await clients,
    remains: async () => (await records(witness, RULES)).map(({ id }) => id)
  }
}

/** Makes a renewal of every secret due. */
export async function makeRenewalDue (witness: Redis): Promise<void> {
  await pass(witness, 60_000)
}

/** The calls of a store whose order matters, each of which is one step for the others. */
const CALLS = ['load', 'create', 'write', 'read', 'look', 'stands', 'renew', 'retire', 'finalize', 'takeBack', 'destroy'] as const

/** A store whose calls begin, and whose answers arrive, in the order that the scheduler picks. */
export class ScheduledStore {
  /** The ids of all records that anybody wanted to create. */
  readonly created = new Set<string>()
  /** Requests that are not answered yet. */
  #requests = 0
  readonly #scheduler: fc.Scheduler

  constructor (store: Store, scheduler: fc.Scheduler) {
    this.#scheduler = scheduler
    for (const call of CALLS) {
      this[call] = async (...args: unknown[]): Promise<any> => {
        if (call === 'create') this.created.add(args[0] as string)
        await scheduler.schedule(Promise.resolve(), `${call} begins`)
        const result = await (store[call] as (...args: unknown[]) => Promise<unknown>)(...args)
        await scheduler.schedule(Promise.resolve(), `${call} is answered`)
        return result
      }
    }
    this.inspect = async (id) => await store.inspect(id)
  }

  async close (): Promise<void> {}

  /** Has the requests of a server counted. */
  count (send: Send): Send {
    return async (...args) => {
      this.#requests++
      return await send(...args).finally(() => { this.#requests-- })
    }
  }

  /**
   * Lets everything run until each request waits for the scheduler, which alone decides on the order from then on: a
   * request has one call of the store under way at most.
   */
  readonly settle = async (run: () => Promise<unknown>): Promise<void> => {
    for (let still = 0; still < 2; still = this.#scheduler.count() >= this.#requests ? still + 1 : 0) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    await run()
  }
}
export interface ScheduledStore extends Store {}

/** An arena in which the scheduler decides in which order the store's calls happen and are answered. */
export function scheduledArena (servers: readonly Send[], scheduler: fc.Scheduler, store: ScheduledStore): Arena {
  let clock = 0
  return {
    servers: servers.map((send) => store.count(send)),
    fence: 0,
    now: () => ++clock,
    run: async (clients) => await scheduler.waitFor(clients, store.settle),
    remains: async () => {
      const found = await Promise.all([...store.created].map(async (id) => await store.inspect(id) === undefined ? [] : [id]))
      return found.flat()
    }
  }
}
