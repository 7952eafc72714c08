/**
 * Redis carries out a command after the request that sent it gave up, or does so in time and the answer comes too late:
 * whatever a request was doing, and at whichever command of it. The browser was told 503 and keeps the cookie that it has; so
 * that cookie has to be worth what it was, and nothing may be left that nobody holds.
 */
import { test, type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { DEFAULT_TIMEOUT, unavailable } from './kit.js'
import { makeApp } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startRedis, type RedisProcess } from '../support/redis-process.js'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js'
import { until } from '../support/until.js'

/** Milliseconds that a command may take. */
const TIMEOUT = DEFAULT_TIMEOUT

/** No program here takes more commands. */
const MOST = 12

/** What changes who the browser is to Redis: first what changes whose list it is in as well. */
const PROGRAMS: Record<string, (session: any, request: any) => unknown> = {
  'a login that carries the user over': (session) => session.regenerate(['user']),
  'a login that carries nothing over': async (session) => { await session.regenerate(); session.user = 'bob' },
  rotate: (session) => session.rotate(),
  'two logins': async (session) => { await session.regenerate(); session.user = 'bob'; await session.save(); await session.regenerate(['user']) },
  elevate: (session) => session.elevate(60),
  'rotate and save': async (session) => { await session.rotate(); await session.save() },
  'a login, saved by the program': async (session) => { await session.regenerate(); session.user = 'bob'; await session.save() },
  'null and a new session': (_, request) => { request.session = null; request.session.user = 'bob' },
  'a new secret for a new session': async (session) => { await session.regenerate(); session.user = 'bob'; await session.save(); await session.rotate() }
}

interface Scene { redis: RedisProcess, proxy: TcpProxy, app: FastifyInstance }

async function scene (t: Test, users: boolean): Promise<Scene> {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const app = await makeApp(t, { redis: proxy.url, timeout: TIMEOUT, ...users && { userField: 'user' } }, (app) => {
    app.get('/', async ({ session }: any) => ({ ...session.data(), elevated: session.elevatedUntil !== undefined }))
    app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
    app.get('/do', async (request: any) => { await PROGRAMS[request.query.what]!(request.session, request); return {} })
  })
  return { redis, proxy, app }
}

/** The ids of all records that somebody could use. */
async function records ({ app }: Scene): Promise<string[]> {
  const ids = []
  for await (const { id } of app.sessions.each()) ids.push(id)
  return ids
}

for (const users of [false, true]) {
  for (const [how, begin, end] of [
    ['carried out later', ({ redis }: Scene) => { redis.freeze() }, ({ redis }: Scene) => { redis.thaw() }],
    ['carried out in time, answered too late', ({ proxy }: Scene) => { proxy.pause('replies') }, ({ proxy }: Scene) => { proxy.resume() }]
  ] as const) {
    test(`${how}${users ? ', with users' : ''}`, async (t) => {
      const here = await scene(t, users)
      const { app, proxy } = here
      // Redis knows the scripts from now on.
      const names = Object.keys(PROGRAMS).slice(0, users ? 4 : undefined)
      for (const name of names) {
        const browser = new Browser(app)
        await browser.json('/set?user=ann')
        await browser.json(`/do?what=${name}`)
      }
      for (const name of names) {
        let failures = 0
        for (let command = 1; command <= MOST; command++) {
          for await (const { id } of app.sessions.each()) await app.sessions.end(id)
          const browser = new Browser(app)
          await browser.json('/set?user=ann')
          const { token } = browser
          const what = `${name}, command ${command}`
          let met = false
          proxy.at(command, () => { met = true; begin(here) })
          const response = await browser.get(`/do?what=${name}`)
          proxy.at(Infinity, () => {})
          end(here)
          const first = await until('Redis answers again', 5000, async () => {
            const response = await browser.clone().get('/')
            return response.statusCode === 200 && response.json()
          })
          if (!met) break
          if (response.statusCode === 503) {
            failures++
            unavailable(t, response, what)
            t.equal(browser.token, token, what)
            t.strictSame(first, { user: 'ann', elevated: false }, `${what}: nobody is taken for a stranger meanwhile`)
            // What could not be undone at once is undone soon after Redis answers again.
            const as = async (): Promise<string> => JSON.stringify([await browser.clone().json('/'), await records(here)])
            const before = JSON.stringify([{ user: 'ann', elevated: false }, [token!.slice(0, 22)]])
            await until(`${what}: all is as before`, 3000, async () => await as() === before).catch(async () => { t.equal(await as(), before, what) })
            await browser.json('/set?more=1')
          } else {
            t.equal(response.statusCode, 200, what)
            t.ok((await browser.json('/')).user, `${what}: what was told to have worked did`)
            const only = JSON.stringify([browser.token!.slice(0, 22)])
            await until(`${what}: one session`, 3000, async () => JSON.stringify(await records(here)) === only).catch(async () => { t.equal(JSON.stringify(await records(here)), only, what) })
          }
        }
        t.ok(failures > 1, `${name}: ${failures} commands whose loss fails the request`)
      }
    })
  }
}
