/** @fastify/oauth2 with its state in the session, which binds the login to the browser that began it. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import oauth2 from '@fastify/oauth2'
import { test } from 'tap'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startProvider } from './provider.js'

test('the state is kept in the session, good for one login of the browser that began it', async (t) => {
  const provider = await startProvider(t)
  const app = await makeApp(t, { redis: (await sharedRedis()).url }, (app) => {
    app.register(oauth2 as any, {
      name: 'local',
      credentials: {
        client: { id: 'client', secret: 'client secret' },
        auth: { tokenHost: provider.url, tokenPath: '/token', authorizeHost: provider.url, authorizePath: '/authorize' }
      },
      startRedirectPath: '/login',
      callbackUri: 'http://app.test/callback',
      generateStateFunction: async ({ session }: any) => {
        session.state = randomBytes(16).toString('base64url')
        return session.state
      },
      checkStateFunction: async ({ session, query }: any) => {
        const state = await session.live.state.take() ?? ''
        return state.length === query.state?.length && timingSafeEqual(Buffer.from(state), Buffer.from(query.state))
      }
    })
    app.get('/callback', async (request: any) => {
      const { token } = await (app as any).local.getAccessTokenFromAuthorizationCodeFlow(request)
      await request.session.regenerate()
      request.session.user = token.access_token
      return {}
    })
    app.get('/', async ({ session }: any) => session.data())
  })
  const begin = async (browser: Browser): Promise<string> => await provider.visit((await browser.get('/login')).headers.location as string)

  const browser = new Browser(app)
  const callback = await begin(browser)
  t.match(await browser.json('/'), { state: new URL(callback, 'http://app.test').searchParams.get('state') })
  const other = new Browser(app)
  await begin(other)
  t.equal((await other.get(callback)).statusCode, 500, 'not in another browser')
  t.strictSame((await Promise.all([browser.get(callback), browser.clone().get(callback)])).map(({ statusCode }) => statusCode).sort(), [200, 500], 'once')
  t.equal((await browser.get(callback)).statusCode, 500)
})
