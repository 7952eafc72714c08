/** @fastify/csrf-protection keeps its secret in the session, as a property. */
import csrfProtection from '@fastify/csrf-protection'
import { Authenticator, Strategy } from '@fastify/passport'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'

async function appWithCsrf (t: Test, routes: (app: FastifyInstance) => void = () => {}): Promise<FastifyInstance> {
  return await makeApp(t, { redis: (await sharedRedis()).url }, (app) => {
    app.register(csrfProtection, { sessionPlugin: '@fastify/session' })
    app.register(async (app) => {
      app.get('/form', async (_, reply) => ({ token: reply.generateCsrf() }))
      app.post('/transfer', { onRequest: app.csrfProtection }, async () => ({ done: true }))
      app.post('/login', async ({ session }: any) => { await session.regenerate(); session.user = 'andrew'; return {} })
      routes(app)
    })
  })
}

const tokenOf = async (browser: Browser): Promise<string> => (await browser.json('/form')).token
const transfer = async (browser: Browser, token?: string): Promise<number> =>
  (await browser.get('/transfer', { method: 'POST', ...(token !== undefined && { headers: { 'csrf-token': token } }) })).statusCode

test('a token is good for its own session only', async (t) => {
  const app = await appWithCsrf(t)
  const browser = new Browser(app)
  const token = await tokenOf(browser)
  t.equal(await transfer(browser, token), 200)
  t.equal(await transfer(browser), 403)
  t.equal(await transfer(browser, 'forged'), 403)
  t.equal(await transfer(browser, await tokenOf(browser)), 200, 'a second one, of the same secret')
  const other = new Browser(app)
  t.equal(await transfer(other, token), 403)
  await tokenOf(other)
  t.equal(await transfer(other, token), 403)
})

test('two pages that are loaded at once get tokens of one session', async (t) => {
  const app = await appWithCsrf(t, (app) => { app.get('/', async ({ session }: any) => { session.seen = true; return {} }) })
  const browser = new Browser(app)
  await browser.get('/')
  await tokenOf(browser)
  const tokens = await Promise.all([tokenOf(browser), tokenOf(browser)])
  for (const token of tokens) t.equal(await transfer(browser, token), 200)
})

test('the token of before the login is invalid after it, also one that somebody planted', async (t) => {
  const app = await appWithCsrf(t)
  const attacker = new Browser(app)
  const planted = await tokenOf(attacker)
  const victim = attacker.clone()
  await victim.get('/login', { method: 'POST' })
  t.equal(await transfer(victim, planted), 403)
  t.equal(await transfer(victim, await tokenOf(victim)), 200)
  t.equal(await transfer(attacker, planted), 403, 'the session it was made for is gone')
})

test('with @fastify/passport, in each of its ways to treat the data of before the login', async (t) => {
  const dropSecret = async ({ session }: any): Promise<void> => { delete session._csrf }
  for (const { options, login, kept } of [
    { options: {}, login: {}, kept: false },
    { options: {}, login: { keepSessionInfo: true }, kept: true },
    { options: { clearSessionOnLogin: false }, login: {}, kept: true }
  ]) {
    const passport = new Authenticator(options)
    passport.use(new class extends Strategy { override authenticate (): void { this.success({ id: 'andrew' }) } }('anybody'))
    passport.registerUserSerializer(async ({ id }: { id: string }) => id)
    passport.registerUserDeserializer(async (id: string) => ({ id }))
    const app = await appWithCsrf(t, (app) => {
      app.register(passport.initialize())
      app.register(passport.secureSession())
      app.post('/passport', { preValidation: [dropSecret, passport.authenticate('anybody', login)] }, async () => ({}))
      app.get('/user', async ({ user, session }: any) => ({ user, theme: session.theme ?? null }))
      app.get('/theme', async ({ session }: any) => { session.theme = 'dark'; return {} })
    })
    const browser = new Browser(app)
    await browser.get('/theme')
    const planted = await tokenOf(browser)
    t.equal((await browser.get('/passport', { method: 'POST' })).statusCode, 200)
    t.strictSame(await browser.json('/user'), { user: { id: 'andrew' }, theme: kept ? 'dark' : null })
    t.equal(await transfer(browser, planted), 403)
    t.equal(await transfer(browser, await tokenOf(browser)), 200)
  }
})
