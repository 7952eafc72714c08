/** @fastify/cors with credentials: another origin's page uses the session. */
import cors from '@fastify/cors'
import { test } from 'tap'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'

const ORIGIN = 'https://shop.example'

test('the page of an allowed origin gets its session, and preflights cost nothing', async (t) => {
  const redis = await sharedRedis()
  const app = await makeApp(t, { redis: redis.url, cookie: { secure: true, sameSite: 'none', partitioned: true } }, (app) => {
    app.register(cors, { origin: [ORIGIN], credentials: true })
    app.register(async (app) => {
      app.post('/visit', async ({ session }: any) => { session.visits = (session.visits ?? 0) + 1; return { visits: session.visits } })
    })
  })
  const browser = new Browser(app)
  const headers = { origin: ORIGIN }
  const visit = { method: 'POST' as const, headers }
  const first = await browser.get('/visit', visit)
  t.match(first.headers, { 'access-control-allow-origin': ORIGIN, 'access-control-allow-credentials': 'true' })
  t.strictSame(String(first.headers.vary).split(/,\s*/).sort(), ['Cookie', 'Origin'])
  t.match(setCookies(first)[0]!.attributes.get('samesite'), 'None')
  t.strictSame(await browser.json('/visit', visit), { visits: 2 })

  const commands = async (): Promise<string> => String(await redis.ask('INFO', 'commandstats')).split('\n').filter((line) => /eval|hget|hset/i.test(line)).join()
  const before = await commands()
  const preflight = await browser.clone().get('/visit', { method: 'OPTIONS', headers: { ...headers, 'access-control-request-method': 'POST', cookie: '' } })
  t.equal(preflight.statusCode, 204)
  t.strictSame(setCookies(preflight), [])
  t.equal(await commands(), before, 'Redis is not asked')
  t.notOk((await browser.get('/visit', { method: 'POST', headers: { origin: 'https://evil.example' } })).headers['access-control-allow-origin'])
})
