/** Parties while things break: a Redis that is killed, frozen, or forgets its scripts, and a network that loses what it carries. */
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { Redis } from 'ioredis'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js'
import { until } from '../support/until.js'
import { Gate } from '../support/browser.js'
import type { Application, Product, Step } from './application.js'
import { RULES, startApplications, type Cleanup } from './arenas.js'
import { Client, into, type Send } from './client.js'
import { check, type Loss } from './history.js'
import { hold } from './invariants.js'
import { records } from './keyspace.js'
import { EVERYTHING, parties, play, type Arena, type Party } from './parties.js'

/** Something that breaks, for so many milliseconds, after so many. */
export type Fault =
  | { readonly type: 'kill' | 'flush' | 'cut', readonly after: number }
  | { readonly type: 'freeze' | 'hold', readonly after: number, readonly ms: number }
  | { readonly type: 'drop', readonly after: number, readonly replies: number }

export const FAULTS: fc.Arbitrary<readonly Fault[]> = fc.array(fc.oneof<Array<fc.Arbitrary<Fault>>>(
  fc.record({ type: fc.constantFrom('kill', 'flush', 'cut'), after: fc.nat(20) }),
  fc.record({ type: fc.constantFrom('freeze', 'hold'), after: fc.nat(20), ms: fc.integer({ min: 50, max: 400 }) }),
  fc.record({ type: fc.constant('drop'), after: fc.nat(20), replies: fc.integer({ min: 1, max: 3 }) })
), { minLength: 1, maxLength: 3 })

/** A Redis that can break, and two applications, each behind a network of its own. */
export interface Scene extends Circumstances {
  readonly redis: RedisProcess
  readonly witness: Redis
  readonly proxies: readonly TcpProxy[]
  readonly applications: readonly Application[]
  readonly servers: readonly Send[]
}

export interface Circumstances {
  /** What was acknowledged survives a crash of Redis. */
  readonly durable: boolean
  /** Milliseconds that Redis has for a command. */
  readonly timeout: number
}

/** Sets the scene; it is cleared when the test ends. */
export async function breakable (t: Cleanup, product: Product, { durable, timeout }: Circumstances): Promise<Scene> {
  const redis = await startRedis({ config: durable ? 'appendonly yes\nappendfsync always' : '' })
  t.teardown(() => redis.stop())
  const proxies = await Promise.all([startProxy(redis.port), startProxy(redis.port)])
  t.teardown(async () => { await Promise.all(proxies.map((proxy) => proxy.close())) })
  const started = await Promise.all(proxies.map(async ({ url }) => await startApplications(product, { redis: url, timeout }, 1)))
  t.teardown(async () => { await Promise.all(started.map(({ close }) => close())) })
  const applications = started.flatMap(({ applications }) => applications)
  return { redis, witness: redis.client(), proxies, applications, servers: applications.map(into), durable, timeout }
}

/** A field that no party has. */
const PROBE = 'probe'

/** Waits until every application can write again, which means that nothing sent before is under way any more. */
async function healed ({ servers }: Scene): Promise<void> {
  for (const send of servers) {
    await until('the application works again', 10_000, async () => (await new Client().send(send, { steps: [['set', PROBE, 1], ['save'], ['destroy']] })).status === 200)
  }
}

async function strike ({ redis, witness, proxies, durable }: Scene, fault: Fault, losses: Loss[]): Promise<void> {
  await sleep(fault.after)
  switch (fault.type) {
    case 'kill': {
      const invoke = performance.now()
      await redis.kill()
      await redis.restart()
      if (!durable) losses.push({ invoke, return: performance.now() })
      break
    }
    case 'flush': await witness.script('FLUSH'); break
    case 'cut': for (const proxy of proxies) proxy.cut(); break
    case 'freeze':
      redis.freeze()
      await sleep(fault.ms)
      redis.thaw()
      break
    case 'hold':
      // Only what one of the two applications sends: the other one goes on.
      proxies[0]!.pause('requests')
      await sleep(fault.ms)
      proxies[0]!.resume()
      break
    case 'drop': proxies[1]!.dropReplies(fault.replies); break
  }
}

/** Histories under faults have an order that explains them; what failed happened at most once, and not after its deadline. */
export function historiesUnderFaults (scene: Scene): fc.IAsyncProperty<[Party, readonly Fault[]]> {
  return fc.asyncProperty(parties({ clients: 4, turns: 6, kinds: EVERYTHING }), FAULTS, async (party, faults) => {
    await healed(scene)
    await scene.witness.flushall()
    const losses: Loss[] = []
    let striking: Promise<void> = Promise.resolve()
    const arena: Arena = {
      servers: scene.servers.map((send): Send => async (...args) => {
        // Slowly, so that the party still goes on when things break; and whoever is told to come again soon takes his time.
        await sleep(5)
        const raw = await send(...args)
        if (raw.status === 503) await sleep(20)
        return raw
      }),
      // The deadline is set before the request is answered, and rounded up.
      fence: scene.timeout + 5,
      losses,
      now: () => performance.now(),
      run: async (clients) => await clients,
      remains: async () => {
        await striking
        scene.proxies[1]!.dropReplies(0)
        await healed(scene)
        // A probe that came too early may have stored its record without being answered.
        return (await records(scene.witness, RULES)).filter(({ fields }) => !(PROBE in fields)).map(({ id }) => id)
      }
    }
    check(await play(party, arena, async () => {
      striking = (async () => { for (const fault of faults) await strike(scene, fault, losses) })()
      striking.catch(() => {})
    }))
  })
}

/** Writes whose command may arrive late. */
export const LATE: Readonly<Record<string, { readonly late: Step, readonly then: Step, readonly kept: unknown }>> = {
  write: { late: ['set', 'n', 7], then: ['set', 'n', 8], kept: 8 },
  'write and delete': { late: ['delete', 'n'], then: ['set', 'n', 8], kept: 8 },
  'live write': { late: ['live.set', 'n', 7], then: ['live.set', 'n', 8], kept: 8 },
  increment: { late: ['live.incr', 'n', 100], then: ['live.incr', 'n', 1], kept: 6 },
  rotate: { late: ['rotate'], then: ['set', 'n', 8], kept: 8 }
}

/**
 * A write is held back on its way, its sender is told 503, another request changes the same thing, and then the first one
 * arrives: it must not happen any more.
 */
export async function lateWrite (scene: Scene, kind: string): Promise<void> {
  const [slow, fast] = scene.servers as [Send, Send]
  const { late, then, kept } = LATE[kind]!
  // Both processes, and Redis, have to know every script: an unknown one does nothing either way.
  for (const send of [slow, fast]) {
    await until('the application works', 10_000, async () => (await new Client().send(send, { steps: [['set', 'n', 5], ['save'], late, ['save'], then, ['save'], ['destroy']] })).status === 200)
  }
  const owner = new Client()
  await owner.send(fast, { steps: [['assign', { n: 5, other: 1 }]] })
  const held = scene.proxies[0]!
  const application = scene.applications[0]!
  application.gate = new Gate()
  // Held back between loading and saving: the load is answered, the write is not.
  const answered = new Client(owner.token).send(slow, { steps: [['get', 'n'], ['gate'], late] })
  await application.gate.arrived(1)
  held.pause('requests')
  application.gate.open()
  const { status, cookie } = await answered
  hold('I16', status === 503 && cookie === undefined, () => `${kind} was answered ${status} although Redis did not get it`)
  const second = await owner.send(fast, { steps: [then] })
  hold('I16', second.status === 200, () => `the second write was answered ${second.status}`)
  await sleep(scene.timeout)
  held.resume()
  await until('the application works again', 10_000, async () => (await new Client().send(slow, { steps: [['live.get', 'n']] })).status === 200)
  await healed(scene)
  const { results: [n], anonymous } = await owner.send(fast, { steps: [['get', 'n']], members: true })
  hold('I16', !anonymous, () => `a ${kind} that had failed logged its owner out`)
  hold('I16', n === kept, () => `a ${kind} that had failed happened later: ${JSON.stringify(n)}`)
}
