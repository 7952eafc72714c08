/** @fastify/passport with two of Passport's own strategies: login, logout, and what survives them. */
import { Authenticator } from '@fastify/passport'
import type { FastifyInstance } from 'fastify'
import { Strategy as LocalStrategy } from 'passport-local'
import { Strategy as OAuth2Strategy, type StrategyOptions } from 'passport-oauth2'
import { test, type Test } from 'tap'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startProvider } from './provider.js'

const USERS = new Map(['andrew', 'barbara'].map((id) => [id, { id, password: `${id}'s password` }]))

type Passport = InstanceType<typeof Authenticator>
type Options = NonNullable<ConstructorParameters<typeof Authenticator>[0]>

/** An app whose users log in by name and password. */
async function appWithPassport (t: Test, options: Options, routes: (app: FastifyInstance, passport: Passport) => void): Promise<FastifyInstance> {
  const passport = new Authenticator(options)
  passport.use(new LocalStrategy((name, password, done) => {
    const user = USERS.get(name)
    if (user?.password === password) done(null, user)
    else done(null, false, { message: 'Wrong name or password' })
  }))
  passport.registerUserSerializer(async ({ id }: { id: string }) => id)
  passport.registerUserDeserializer(async (id: string) => USERS.get(id) ?? false)
  return await makeApp(t, { redis: (await sharedRedis()).url }, (app) => {
    app.register(passport.initialize())
    app.register(passport.secureSession())
    app.register(async (app) => {
      app.get('/', async (request: any) => ({ user: request.user?.id ?? null, data: request.session.data(), id: request.session.id }))
      app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
      app.post('/logout', async (request: any) => { await request.logout(); return {} })
      routes(app, passport)
    })
  })
}

function loginRoute (app: FastifyInstance, passport: Passport, options = {}): void {
  app.post('/login', { preValidation: passport.authenticate('local', options) }, async () => ({ loggedIn: true }))
}

async function logIn (browser: Browser, username: string, password = `${username}'s password`): Promise<number> {
  return (await browser.get('/login', { method: 'POST', payload: { username, password } })).statusCode
}

test('several users log in and out, each in a session of their own', async (t) => {
  const app = await appWithPassport(t, {}, loginRoute)
  const browsers = new Map([...USERS.keys()].map((id) => [id, new Browser(app)]))
  for (const [id, browser] of browsers) {
    t.equal(await logIn(browser, id, 'wrong'), 401)
    t.equal(browser.token, undefined, 'a failed login stores nothing')
    t.equal(await logIn(browser, id), 200)
  }
  for (const [id, browser] of browsers) t.match(await browser.json('/'), { user: id, data: { passport: id } })

  const andrew = browsers.get('andrew')!
  const thief = andrew.clone()
  await andrew.get('/logout', { method: 'POST' })
  t.match(await andrew.json('/'), { user: null, data: {} })
  t.match(await thief.json('/'), { user: null, data: {} }, 'the cookie of before the logout is dead')
  t.match(await browsers.get('barbara')!.json('/'), { user: 'barbara' })
})

test('each way to treat the data of before the login, and none lets an old cookie live', async (t) => {
  const ways = [
    { name: 'default', options: {}, login: {}, kept: false },
    { name: 'keepSessionInfo', options: {}, login: { keepSessionInfo: true }, kept: true },
    { name: 'clearSessionOnLogin: false', options: { clearSessionOnLogin: false }, login: {}, kept: true },
    { name: 'clearSessionIgnoreFields', options: { clearSessionIgnoreFields: ['cart'] }, login: {}, kept: true }
  ]
  for (const { name, options, login, kept } of ways) {
    await t.test(name, async (t) => {
      const app = await appWithPassport(t, options, (app, passport) => {
        loginRoute(app, passport, login)
        app.get('/cart', async ({ session }: any) => { session.cart = { items: [{ id: 7, name: '' }], total: 0, paid: false }; return {} })
      })
      const browser = new Browser(app)
      await browser.get('/cart')
      const before = await browser.json('/')
      const thief = browser.clone()
      t.equal(await logIn(browser, 'andrew'), 200)
      const after = await browser.json('/')
      t.strictSame(after.data, { ...(kept && before.data), passport: 'andrew' })
      t.not(after.id, before.id)
      t.match(await thief.json('/'), { user: null, data: {} })
      t.equal(await app.sessions.inspect(before.id), undefined, 'the record of before is gone')

      await browser.get('/logout', { method: 'POST' })
      const left = await browser.json('/')
      t.equal(left.user, null)
      t.strictSame(left.data, options.clearSessionOnLogin === false ? before.data : {})
    })
  }
})

test('a planted session is not the one that the victim logs in to', async (t) => {
  const app = await appWithPassport(t, { clearSessionOnLogin: false }, loginRoute)
  const attacker = new Browser(app)
  await attacker.get('/set?planted=1')
  const victim = attacker.clone()
  await logIn(victim, 'andrew')
  t.match(await victim.json('/'), { user: 'andrew' })
  t.match(await attacker.json('/'), { user: null, data: {} })
})

test('failure messages, as messages and as flash', async (t) => {
  const app = await appWithPassport(t, {}, (app, passport) => {
    loginRoute(app, passport, { failureMessage: true, failureFlash: { type: 'error', message: 'Once more, please' }, failureRedirect: '/form' })
    app.get('/form', async ({ session }: any, reply: any) => {
      const { messages } = session
      delete session.messages
      return { messages: messages ?? [], flash: reply.flash('error') }
    })
  })
  const browser = new Browser(app)
  for (let attempt = 0; attempt < 2; attempt++) t.equal(await logIn(browser, 'andrew', 'wrong'), 302)
  t.strictSame(await browser.json('/form'), { messages: Array(2).fill('Wrong name or password'), flash: Array(2).fill('Once more, please') })
  t.strictSame(await browser.json('/form'), { messages: [], flash: [] }, 'both are shown once')
})

test('a refused login does not reach the handler, although its message has to be saved first', async (t) => {
  let runs = 0
  const app = await appWithPassport(t, {}, (app, passport) => {
    app.post('/login', { preValidation: passport.authenticate('local', { failureMessage: true }) }, async () => { runs++; return 'secret' })
  })
  const browser = new Browser(app)
  for (let attempt = 0; attempt < 2; attempt++) t.equal(await logIn(browser, 'andrew', 'wrong'), 401)
  t.equal((await browser.json('/')).data.messages.length, 2)
  t.equal(runs, 0)
})

test('successReturnToOrRedirect leads back to where the login was asked for, once', async (t) => {
  for (const { options, login } of [
    { options: {}, login: { keepSessionInfo: true } },
    { options: { clearSessionIgnoreFields: ['returnTo'] }, login: {} }
  ]) {
    const app = await appWithPassport(t, options, (app, passport) => { loginRoute(app, passport, { successReturnToOrRedirect: '/home', ...login }) })
    const browser = new Browser(app)
    const target = async (): Promise<unknown> => (await browser.get('/login', { method: 'POST', payload: { username: 'andrew', password: "andrew's password" } })).headers.location
    await browser.get('/set?returnTo=/orders/5')
    t.equal(await target(), '/orders/5')
    t.strictSame((await browser.json('/')).data, { passport: 'andrew' })
    t.equal(await target(), '/home')
  }
})

test('a second strategy, OAuth 2.0, which keeps its state in nested session data', async (t) => {
  const provider = await startProvider(t)
  const app = await appWithPassport(t, {}, (app, passport) => {
    const strategy = new OAuth2Strategy({
      authorizationURL: provider.authorizeUrl,
      tokenURL: provider.tokenUrl,
      clientID: 'client',
      clientSecret: 'client secret',
      callbackURL: 'http://app.test/callback',
      state: true,
      pkce: true
    } as StrategyOptions, (accessToken: string, _refreshToken: string, _profile: unknown, done: (error: null, user: unknown) => void) => {
      done(null, USERS.get(accessToken.replace('token-of-', '')))
    })
    passport.use('oauth2', strategy as never)
    app.get('/oauth2', { preValidation: passport.authenticate('oauth2') }, async () => ({}))
    app.get('/callback', { preValidation: passport.authenticate(['oauth2', 'local'], { failureMessage: true }) }, async () => ({}))
    loginRoute(app, passport)
  })
  const start = async (browser: Browser): Promise<string> => (await browser.get('/oauth2')).headers.location as string

  const browser = new Browser(app)
  const location = await start(browser)
  const key = `oauth2:${new URL(provider.url).hostname}`
  t.match((await browser.json('/')).data[key], { state: { handle: new URL(location).searchParams.get('state'), code_verifier: String } })
  const callback = await provider.visit(location)
  t.equal((await browser.get(callback.replace(/state=\w+/, 'state=forged'))).statusCode, 403)
  t.strictSame((await browser.json('/')).data[key], undefined, 'a state is good for one attempt')

  const again = await provider.visit(await start(browser))
  t.equal((await new Browser(app).get(again)).statusCode, 403, 'and for the browser that asked for it')
  t.equal((await browser.get(again)).statusCode, 200)
  t.strictSame((await browser.json('/')).data, { passport: 'andrew' })

  t.equal(await logIn(browser, 'barbara'), 200, 'the other strategy, in the same session')
  t.match(await browser.json('/'), { user: 'barbara' })
})
