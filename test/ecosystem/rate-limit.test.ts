/** @fastify/rate-limit with limits per user: the session is there when its key is asked for. */
import rateLimit from '@fastify/rate-limit'
import { test } from 'tap'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'

test('each user has a limit of their own, anonymous visitors share the one of their address', async (t) => {
  const app = await makeApp(t, { redis: (await sharedRedis()).url }, (app) => {
    app.register(rateLimit, { global: false })
    app.register(async (app) => {
      app.get('/login/:user', async ({ session, params }: any) => { session.user = params.user; return {} })
      const keyGenerator = ({ session, ip }: any): string => session.user ?? ip
      app.get('/', { config: { rateLimit: { max: 2, timeWindow: '1 minute', keyGenerator } } }, async ({ session }: any) => { session.reads = (session.reads ?? 0) + 1; return { reads: session.reads } })
      app.get('/reads', async ({ session }: any) => ({ reads: session.reads ?? null }))
    })
  })
  const statuses = async (browser: Browser): Promise<number[]> => {
    const codes = []
    for (let i = 0; i < 3; i++) codes.push((await browser.get('/')).statusCode)
    return codes
  }
  const andrew = new Browser(app)
  const barbara = new Browser(app)
  await andrew.get('/login/andrew')
  await barbara.get('/login/barbara')
  t.strictSame(await statuses(andrew), [200, 200, 429])
  t.strictSame(await statuses(barbara), [200, 200, 429])
  t.strictSame(await statuses(new Browser(app)), [200, 200, 429])
  t.strictSame(await statuses(andrew.clone()), [429, 429, 429], 'another window of the same user')
  t.strictSame(await andrew.json('/reads'), { reads: 2 }, 'a refused request changes nothing')
})
