/** @fastify/helmet: its headers and the session's leave each other alone. */
import helmet from '@fastify/helmet'
import { test } from 'tap'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser, setCookies } from '../support/browser.js'

test('all headers of both are there, whichever comes first', async (t) => {
  for (const order of ['before', 'after']) {
    const app = await makeApp(t, { redis: (await sharedRedis()).url, cookie: { secure: true } }, (app) => {
      if (order === 'after') app.register(helmet, { enableCSPNonces: true })
      app.register(async (app) => {
        if (order === 'before') await app.register(helmet, { enableCSPNonces: true })
        app.get('/', async ({ session }: any, reply: any) => { session.nonces = (session.nonces ?? []).concat(reply.cspNonce.script); return session.nonces })
      })
    })
    const browser = new Browser(app)
    const response = await browser.get('/')
    t.match(response.headers, { 'content-security-policy': /nonce-/, 'strict-transport-security': /max-age/, 'cache-control': 'no-store', vary: 'Cookie' }, order)
    t.match(setCookies(response), [{ name: '__Host-session-id' }])
    t.equal((await browser.json('/')).length, 2)
  }
})
