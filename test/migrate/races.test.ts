/** Moving, step by step: every interleaving of two requests with one old cookie, crashes in between, and a Cluster. */
import { createHmac } from 'node:crypto'
import { Cluster, type Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { Migrations } from '../../src/migrate/migration.js'
import { OldRecords } from '../../src/migrate/old-records.js'
import { resolveMigrations } from '../../src/migrate/options.js'
import { RedisStore } from '../../src/store/redis.js'
import type { Store } from '../../src/store/store.js'
import { RULES } from '../contract/kit.js'
import { ready } from '../contract/redis-subject.js'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startCluster } from '../support/redis-cluster.js'

const SECRET = 'the old secret of the tests 5e0a9c'
const SOON = new Date(Date.now() + 3_600_000)
const SID = 'an-id-as-express-session-makes-it'
const OLD_KEY = `sess:${SID}`

function cookieFor (sid: string): string {
  return `connect.sid=${encodeURIComponent(`s:${sid}.${createHmac('sha256', SECRET).update(sid).digest('base64').replace(/=+$/, '')}`)}`
}

const COOKIE = cookieFor(SID)
const OLD_SESSION = '{"cookie":{"expires":null},"user":"andrew"}'

/** The calls that change something, or decide. In this order one request makes them. */
const STEPS = ['look', 'create', 'settle', 'destroy'] as const
type Step = typeof STEPS[number]

/** A request in slow motion: it stops before each step until it is told to go on. */
class SlowRequest {
  readonly outcome: Promise<{ id: string, digest: string } | undefined>
  readonly #redis: Redis | Cluster
  #next: { step: Step, go: () => void } | undefined
  #arrived: () => void = () => {}
  #ended = false

  constructor (client: Redis | Cluster, keep: boolean, crashAt?: Step) {
    this.#redis = client
    const store = new RedisStore(client, { timeout: 5000 })
    const records = new OldRecords(store.transport, 10_000)
    const at = async (step: Step): Promise<void> => {
      if (step === crashAt) throw new Error('crash')
      await new Promise<void>((resolve) => {
        this.#next = { step, go: resolve }
        this.#arrived()
      })
    }
    const slow = <T extends object>(target: T, steps: Record<string, Step>): T => new Proxy(target, {
      get: (_, name) => {
        const method = Reflect.get(target, name) as (...args: unknown[]) => unknown
        const step = steps[name as string]
        return async (...args: unknown[]) => {
          if (step !== undefined) await at(step)
          return await method.apply(target, args)
        }
      }
    })
    const migrations = new Migrations(resolveMigrations({ format: 'express-session', secret: SECRET, until: SOON, keep }, 'id', []), {
      store: slow<Store>(store, { create: 'create', destroy: 'destroy' }),
      records: slow(records, { look: 'look', move: 'settle', exists: 'settle' }),
      rules: RULES,
      fieldRules: { maxDepth: 16, maxFieldSize: 1000, schema: undefined, onMisfit: () => {} },
      warn: () => {}
    })
    this.outcome = migrations.move(COOKIE)!
    const end = (): void => { this.#ended = true; this.#arrived() }
    this.outcome.then(end, end)
  }

  /** Does one step; says which, or nothing where the request has ended. */
  async step (): Promise<Step | undefined> {
    if (this.#next === undefined && !this.#ended) await new Promise<void>((resolve) => { this.#arrived = resolve })
    const next = this.#next
    this.#next = undefined
    next?.go()
    // Until it stands before the next step, so that this one is done.
    if (next !== undefined && !this.#ended) await new Promise<void>((resolve) => { this.#arrived = resolve })
    return next?.step
  }

  /** Runs to the end, and then as `load` would find it. */
  async finish (): Promise<string | undefined> {
    while (await this.step() !== undefined);
    const token = await this.outcome
    if (token === undefined) return undefined
    const loaded = await new RedisStore(this.#redis).load(token.id, token.digest, false, RULES)
    return loaded === undefined ? undefined : token.id
  }
}

async function sessionKeys (client: Redis | Cluster): Promise<string[]> {
  const nodes = client instanceof Cluster ? client.nodes('master') : [client]
  return (await Promise.all(nodes.map((node) => node.keys('session:*')))).flat()
}

/** All orders in which two requests of up to four steps can take turns. */
const ORDERS = Array.from({ length: 256 }, (_, bits) => Array.from({ length: 8 }, (_, i) => (bits >> i) & 1)).filter((order) => order.filter((turn) => turn === 1).length === 4)

async function everyOrder (t: Test, client: Redis | Cluster, keep: boolean): Promise<void> {
  for (const order of ORDERS) {
    await client.set(OLD_KEY, OLD_SESSION, 'PX', 60_000)
    const requests = [new SlowRequest(client, keep), new SlowRequest(client, keep)]
    for (const turn of order) await requests[turn]!.step()
    const ids = await Promise.all(requests.map((request) => request.finish()))
    const found = await sessionKeys(client)
    if (ids[0] === undefined || ids[0] !== ids[1] || found.length !== 1) t.fail(`${order.join('')}: ${JSON.stringify(ids)}, ${found.length} records`)
    await Promise.all([...found, OLD_KEY].map((key) => client.del(key)))
  }
  t.pass(`${ORDERS.length} orders`)
}

test('two requests with one old cookie, in every order of their steps: one session', async (t) => {
  const redis = await sharedRedis()
  const client = await ready(redis.client())
  for (const keep of [false, true]) await everyOrder(t, client, keep)
})

test('a logout in between is final, wherever a slower request stands', async (t) => {
  const client = await ready((await sharedRedis()).client())
  for (const keep of [false, true]) {
    for (const before of [1, 2, 3]) {
      for (const endsOld of [true, false]) {
        // With `keep` only a logout that brings the old cookie ends the old session.
        if (keep && !endsOld) continue
        await client.flushall()
        await client.set(OLD_KEY, OLD_SESSION, 'PX', 60_000)
        const slow = new SlowRequest(client, keep)
        for (let i = 0; i < before; i++) await slow.step()
        const id = await new SlowRequest(client, keep).finish()
        t.ok(id)
        if (endsOld) await client.del(OLD_KEY)
        await client.del(`session:${id}`)
        t.equal(await slow.finish(), undefined, `${keep ? 'copied' : 'moved'}, after ${before} steps`)
        t.strictSame(await sessionKeys(client), [])
        t.equal(await new SlowRequest(client, keep).finish(), undefined, 'and later ones get nothing')
      }
    }
  }
})

test('the old system ends the session in between: it does not live on', async (t) => {
  const client = await ready((await sharedRedis()).client())
  for (const keep of [false, true]) {
    for (const before of [1, 2]) {
      await client.flushall()
      await client.set(OLD_KEY, OLD_SESSION, 'PX', 60_000)
      const slow = new SlowRequest(client, keep)
      for (let i = 0; i < before; i++) await slow.step()
      await client.del(OLD_KEY)
      t.equal(await slow.finish(), undefined)
      t.strictSame(await sessionKeys(client), [])
    }
  }
})

test('a crash between any two steps loses nothing', async (t) => {
  const client = await ready((await sharedRedis()).client())
  for (const keep of [false, true]) {
    for (const step of STEPS.slice(0, 3)) {
      await client.flushall()
      await client.set(OLD_KEY, OLD_SESSION, 'PX', 60_000)
      const crashing = new SlowRequest(client, keep, step)
      await t.rejects(crashing.finish(), { message: 'crash' })
      const orphans = await sessionKeys(client)
      const id = await new SlowRequest(client, keep).finish()
      t.ok(id, step)
      t.equal(await client.hget(`session:${id}`, 'user'), 'andrew')
      for (const orphan of orphans) t.ok(await client.pttl(orphan) > 0, 'what nobody can reach expires')
    }
  }
})

test('on a Cluster, where old and new records are on different nodes', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const client = await ready(new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port }))))
  t.teardown(() => { client.disconnect() })
  await everyOrder(t, client, false)
  const options = { redis: cluster.url, timeout: 3000, migrateFrom: { format: 'express-session' as const, secret: SECRET, until: SOON } }
  const apps = await Promise.all([1, 2].map(() => makeApp(t, options, (app) => {
    app.get('/', async ({ session }: any) => ({ id: session.id, user: session.user }))
  })))
  // Many ids, so that the nodes of the two keys differ in most cases.
  for (let i = 0; i < 10; i++) {
    await client.set(`sess:${i}`, OLD_SESSION, 'PX', 60_000)
    const answers = await Promise.all(Array.from({ length: 6 }, async (_, n) => {
      const browser = new Browser(apps[n % 2]!)
      const [name = '', value = ''] = cookieFor(String(i)).split(/=(.*)/s)
      browser.jar.set(name, value)
      return { ...await browser.json('/'), token: browser.token }
    }))
    t.equal(answers[0]!.user, 'andrew')
    t.equal(new Set(answers.map((answer) => JSON.stringify(answer))).size, 1)
  }
})
