/** grant keeps what it does in `session.grant`, changes that object in place, and assigns the same one again. */
import { createRequire } from 'node:module'
import { test } from 'tap'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startProvider } from './provider.js'

// Its types say another thing than what importing it gives.
const grant = createRequire(import.meta.url)('grant')

test('a login through grant leaves its answer in the session', async (t) => {
  const provider = await startProvider(t)
  const app = await makeApp(t, { redis: (await sharedRedis()).url }, (app) => {
    app.register(grant.fastify()({
      defaults: { origin: 'http://app.test', transport: 'session', state: true },
      local: {
        authorize_url: provider.authorizeUrl,
        access_url: provider.tokenUrl,
        oauth: 2,
        key: 'client',
        secret: 'client secret',
        callback: '/done',
        custom_params: { login_hint: 'barbara' }
      }
    }))
    app.get('/done', async ({ session }: any) => { session.user = session.grant.response.access_token; return {} })
    app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
    app.get('/', async ({ session }: any) => session.data())
  })
  const browser = new Browser(app)
  await browser.get('/set?theme=dark')
  const start = await browser.get('/connect/local')
  const location = start.headers.location as string
  const { grant: begun } = await browser.json('/')
  t.match(begun, { provider: 'local', state: new URL(location).searchParams.get('state') })

  const callback = await provider.visit(location)
  const [back] = await Promise.all([browser.get(callback), browser.get('/set?cart=full')])
  t.equal(back.headers.location, '/done')
  await browser.get('/done')
  t.match(await browser.json('/'), {
    grant: { provider: 'local', response: { access_token: 'token-of-barbara' } },
    user: 'token-of-barbara',
    theme: 'dark',
    cart: 'full'
  })

  const other = new Browser(app)
  await other.get('/connect/local')
  t.equal((await other.get(callback)).headers.location, '/done')
  t.match((await other.json('/')).grant, { response: { error: /state/ } }, 'a callback that another browser began')
})
