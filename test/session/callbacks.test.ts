/** Methods with a callback call it, once, whatever happens; they never throw, and leave no rejection behind. */
import { test, type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { makeApp, onEveryStore } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'
import { startRedis } from '../support/redis-process.js'
import { until } from '../support/until.js'

type Callback = (error: (Error & { code?: string }) | null) => void

const METHODS: Record<string, (session: any, callback: Callback) => unknown> = {
  save: (session, callback) => session.save(callback),
  reload: (session, callback) => session.reload(callback),
  destroy: (session, callback) => session.destroy(callback),
  rotate: (session, callback) => session.rotate(callback),
  elevate: (session, callback) => session.elevate(60, callback),
  regenerate: (session, callback) => session.regenerate(callback),
  'regenerate with keys': (session, callback) => session.regenerate(['user'], callback),
  'regenerate with no keys': (session, callback) => session.regenerate(undefined, callback)
}

/** What callbacks were called with, in the order of the calls. */
class Calls {
  readonly seen: string[] = []
  readonly thrown: unknown[] = []
  readonly rejected: unknown[] = []
  #open = 0

  constructor (t: Test) {
    const note = (error: unknown): void => { this.rejected.push(error) }
    process.on('uncaughtExceptionMonitor', note)
    t.teardown(() => { process.off('uncaughtExceptionMonitor', note) })
  }

  /** Calls a method as callback-style code does: without looking at what it answers. */
  make (name: string, session: unknown, then: () => void = () => {}): void {
    this.#open++
    try {
      METHODS[name]!(session, (error) => {
        this.#open--
        this.seen.push(`${name}: ${error === null ? 'done' : error.code ?? error.message}`)
        then()
      })
    } catch (error) {
      this.thrown.push(error)
    }
  }

  async all (): Promise<void> {
    await until('every callback is called', 5000, () => this.#open === 0)
    // A second call, or a rejection that nobody handles, would come now.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  /** Each was called once, with the same. */
  check (t: Test, code: string | Record<string, string>, where: string): void {
    const expected = Object.keys(METHODS).map((name) => `${name}: ${typeof code === 'string' ? code : code[name] ?? code['otherwise']}`)
    t.strictSame(this.seen.splice(0).sort(), expected.sort(), where)
    t.strictSame([this.thrown, this.rejected], [[], []], where)
  }
}

const set = async ({ session, query }: any): Promise<object> => { Object.assign(session, query); return {} }

test('where they succeed', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const calls = new Calls(t)
    const app = await makeApp(t, { redis }, (app) => {
      app.get('/set', set)
      for (const name of Object.keys(METHODS)) app.get(`/${name}`, ({ session }, reply) => { calls.make(name, session, () => { reply.send({}) }) })
    })
    for (const name of Object.keys(METHODS)) {
      for (const begin of [true, false]) {
        const browser = new Browser(app)
        if (begin) await browser.json('/set?user=ann')
        t.equal((await browser.get(`/${name}`)).statusCode, 200, name)
      }
    }
    await calls.all()
    t.strictSame(calls.seen.sort(), Object.keys(METHODS).flatMap((name) => [`${name}: done`, `${name}: done`]).sort())
    t.strictSame([calls.thrown, calls.rejected], [[], []])
  })
})

test('where the session cannot be changed: after the save, with the session off, outside the path, and where it was ended', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const calls = new Calls(t)
    const every = (session: unknown): void => { for (const name of Object.keys(METHODS)) calls.make(name, session) }
    const app = await makeApp(t, { redis, cookie: { path: '/in' } }, (app) => {
      app.get('/in/set', set)
      app.get('/in/sealed', { onSend: async ({ session }) => { every(session) } }, async ({ session }: any) => session.data())
      app.get('/in/left', ({ session }, reply) => { reply.send({}); reply.raw.once('close', () => { setImmediate(every, session) }) })
      app.get('/in/off', { config: { session: false } }, async ({ session }) => { every(session); await calls.all(); return {} })
      app.get('/out', async ({ session }) => { every(session); await calls.all(); return {} })
      app.get('/in/arguments', async ({ session }: any) => {
        const seen: unknown[] = []
        session.elevate(-1, (error: Error) => { seen.push(error) })
        session.regenerate('user', (error: Error) => { seen.push(error) })
        await until('both are called', 5000, () => seen.length === 2)
        return seen.map((error) => (error as { code: string }).code).sort()
      })
    })
    const member = async (): Promise<Browser> => { const browser = new Browser(app); await browser.json('/in/set?user=ann'); return browser }
    const nothing = { save: 'done', reload: 'done' }

    await (await member()).get('/in/sealed')
    await calls.all()
    calls.check(t, { ...nothing, destroy: 'done', otherwise: 'SESSION_SEALED' }, 'sealed')

    await (await member()).get('/in/left')
    await until('they were called', 5000, () => calls.seen.length >= Object.keys(METHODS).length)
    await calls.all()
    calls.check(t, 'done', 'after the response a change is dropped, which is no error')

    await (await member()).get('/in/off')
    calls.check(t, { ...nothing, otherwise: 'SESSION_DISABLED' }, 'off')

    await (await member()).get('/out')
    calls.check(t, { ...nothing, otherwise: 'SESSION_OUTSIDE_PATH' }, 'outside the path')

    t.strictSame((await (await member()).get('/in/arguments')).json(), ['SESSION_NAME_INVALID', 'SESSION_TIMEOUT_INVALID'])
  })
})

test('where Redis does not answer: what failed is told to the callback, and to nobody else', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const calls = new Calls(t)
  const routes = (app: FastifyInstance): void => {
    app.get('/set', set)
    for (const name of Object.keys(METHODS)) {
      app.get(`/degraded/${name}`, { config: { session: { onStoreError: 'anonymous' } } }, ({ session }, reply) => { calls.make(name, session, () => { reply.send({}) }) })
    }
    for (const name of ['save', 'reload', 'destroy']) {
      app.get(`/frozen/${name}`, ({ session }: any, reply) => {
        if (name === 'save') session.a = 1
        redis.freeze()
        calls.make(name, session, () => { reply.code(500).send({ mine: true }) })
      })
    }
  }
  const app = await makeApp(t, { redis: redis.url, timeout: 100 }, routes)
  const browser = new Browser(app)
  await browser.json('/set?user=ann')
  for (const name of ['save', 'reload', 'destroy']) {
    const response = await browser.get(`/frozen/${name}`)
    t.ok(response.statusCode >= 500, name)
    t.strictSame(setCookies(response), [], name)
    redis.thaw()
    await until('it answers', 5000, async () => (await browser.clone().get('/set')).statusCode === 200)
  }
  await calls.all()
  t.strictSame(calls.seen.splice(0), ['save', 'reload', 'destroy'].map((name) => `${name}: SESSION_STORE_UNAVAILABLE`))
  redis.freeze()
  for (const name of Object.keys(METHODS)) t.equal((await browser.get(`/degraded/${name}`)).statusCode, 200, name)
  await calls.all()
  calls.check(t, { save: 'done', otherwise: 'SESSION_DEGRADED' }, 'degraded')
})
