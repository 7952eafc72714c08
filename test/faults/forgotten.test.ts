/** A forgotten `await`, while Redis does not answer: the response fails, as it would have with it. */
import { test } from 'tap'
import { unavailable } from './kit.js'
import { makeApp, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startRedis } from '../support/redis-process.js'
import { until } from '../support/until.js'

/** What is not waited for. */
const FORGOTTEN: Record<string, (session: any, request: any) => void> = {
  destroy: (session) => { session.destroy() },
  'destroy, then a new session': (session) => { session.destroy(); session.user = 'bob' },
  null: (_, request) => { request.session = null },
  save: (session) => { session.user = 'bob'; session.save() },
  reload: (session) => { session.reload() },
  rotate: (session) => { session.rotate() },
  elevate: (session) => { session.elevate(60) },
  regenerate: (session) => { session.regenerate() },
  'regenerate, carried over': (session) => { session.regenerate(['user']) },
  'a live write': (session) => { session.live.user.set('bob') },
  'a live read': (session) => { session.live.user.get() },
  'a destroy in a promise that nobody waits for': (session) => { Promise.all([session.destroy()]).catch(() => {}) }
}

/** What Redis may carry out as soon as it can: whoever asked for a logout still wants it. */
const ENDS = /destroy|null/

/** What is told in the log where the response left already. One route each, because each is told of once. */
const LATER = ['a live write', 'destroy', 'reload']

test('what nobody waited for fails the response; the session, and the cookie, stay', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const lines: Lines = []
  const rejected: unknown[] = []
  const note = (error: unknown): void => { rejected.push(error) }
  process.on('uncaughtExceptionMonitor', note)
  t.teardown(() => { process.off('uncaughtExceptionMonitor', note) })
  const app = await makeApp(t, { redis: redis.url, timeout: 300, lines }, (app) => {
    app.get('/login', async ({ session }: any) => { await session.regenerate(); session.user = 'ann'; return {} })
    app.get('/me', async ({ session }: any) => session.data())
    app.get('/do', (request: any, reply) => {
      redis.freeze()
      FORGOTTEN[request.query.what]!(request.session, request)
      reply.send({ told: 'all is well' })
    })
    for (const what of LATER) {
      app.get(`/later/${LATER.indexOf(what)}`, (request: any, reply) => {
        reply.send({ told: 'all is well' })
        reply.raw.once('close', () => { redis.freeze(); FORGOTTEN[what]!(request.session, request) })
      })
    }
  })
  for (const what of Object.keys(FORGOTTEN)) {
    const browser = new Browser(app)
    await browser.json('/login')
    const { token } = browser
    const response = await browser.get(`/do?what=${what}`)
    redis.thaw()
    t.equal(browser.token, token, what)
    unavailable(t, response, what)
    const data = await until('Redis answers', 5000, async () => await browser.clone().json('/me'))
    if (!ENDS.test(what)) await until(`${what}: the session goes on`, 5000, async () => (await browser.clone().json('/me')).user === 'ann')
    else t.ok(data.user === undefined || data.user === 'ann', what)
  }
  // A listener of the response's end has nobody else to tell.
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  for (const [i, what] of LATER.entries()) {
    const browser = new Browser(app)
    await browser.json('/login')
    const count = lines.length
    const response = await fetch(`${url}/later/${i}`, { headers: { cookie: browser.cookie, connection: 'close' } })
    t.equal(response.status, 200, await response.text())
    await until(`${what}: the log says so`, 5000, () => lines.slice(count).find(({ msg }) => /nobody was waiting|after the response had left/.test(msg)))
    redis.thaw()
    await until('it answers', 5000, async () => (await browser.clone().get('/me')).statusCode === 200)
  }
  t.strictSame(rejected, [])
})
