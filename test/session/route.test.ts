/** What routes say of the session: checked before the app is ready, however a route came to be. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import sessionPlugin, { type SessionOptions } from '../../src/index.js'
import { RouteRules } from '../../src/session/route.js'
import { SECRET } from '../support/app.js'

const options: SessionOptions = { secret: SECRET, redis: 'memory:', userField: 'userId', cookie: { secure: false } }
const handler = async (): Promise<string> => 'in'

/** Config that no type lets through. */
function rule (session: unknown): object {
  return { session }
}

function makeBare (t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

const SETTINGS = 'touch, onStoreError, maxAuthAge, elevated'

test('what a rule may be, and what is said of what it may not be', async (t) => {
  const rules = new RouteRules('session', true)
  const check = (session: unknown) => rules.check({ session }, 'GET /x')
  for (const good of [undefined, false, {}, { touch: true }, { touch: false, onStoreError: 'anonymous' }, { onStoreError: 'fail' }, { maxAuthAge: 0.5 }, { maxAuthAge: 315_360_000, elevated: true }, { elevated: false }, Object.create(null)]) {
    t.same(check(good), good)
  }
  t.strictSame(check({ touch: undefined, maxAuthAge: undefined, elevated: true, onStoreError: 'Fail' }), { elevated: true, onStoreError: 'fail' })
  t.strictSame(check(runInNewContext('({ elevated: true })')), { elevated: true }, 'of another realm')
  t.equal(rules.check(undefined, 'GET /x'), undefined)

  const shape = (kind: string) => `config.session: expected false, or an object with ${SETTINGS}; not ${kind}`
  const boolean = 'expected true or false, not'
  const seconds = 'expected a number of seconds above 0, at most 315360000'
  for (const [session, message] of [
    [true, shape('a boolean')], [null, shape('null')], [0, shape('a number')], [Number.NaN, shape('NaN')], ['', shape('a string')], ['false', shape('a string')], [[], shape('an array')], [[{ elevated: true }], shape('an array')],
    [() => false, shape('a function')], [new Map([['elevated', true]]), shape('an object of class Map')], [new Date(), shape('an object of class Date')], [Object.create({ elevated: true }), shape('an object that inherits from another')],
    [{ elevate: true }, `config.session.elevate: unknown; a route may set ${SETTINGS}; did you mean elevated?`], [{ Elevated: true }, `config.session.Elevated: unknown; a route may set ${SETTINGS}; did you mean elevated?`],
    [{ elevated: true, tuoch: false }, `config.session.tuoch: unknown; a route may set ${SETTINGS}; did you mean touch?`], [{ maxAge: 300 }, `config.session.maxAge: unknown; a route may set ${SETTINGS}`],
    [{ save: false }, `config.session.save: unknown; a route may set ${SETTINGS}`], [JSON.parse('{ "__proto__": { "elevated": true } }'), `config.session.__proto__: unknown; a route may set ${SETTINGS}`],
    ...['true', 1, 0, null, {}, []].map((elevated) => [{ elevated }, `config.session.elevated: ${boolean} `]),
    ...['no', 0, null].map((touch) => [{ touch }, `config.session.touch: ${boolean} `]),
    [{ maxAuthAge: '1h' }, `config.session.maxAuthAge: ${seconds}, not a string`], [{ maxAuthAge: '60' }, `config.session.maxAuthAge: ${seconds}, not a string`], [{ maxAuthAge: Number.NaN }, `config.session.maxAuthAge: ${seconds}, not NaN`],
    [{ maxAuthAge: Number.POSITIVE_INFINITY }, `config.session.maxAuthAge: ${seconds}, not Infinity`], [{ maxAuthAge: null }, `config.session.maxAuthAge: ${seconds}, not null`], [{ maxAuthAge: true }, `config.session.maxAuthAge: ${seconds}, not a boolean`],
    ...[-1, 0, -0, 1e12].map((maxAuthAge) => [{ maxAuthAge }, `config.session.maxAuthAge: ${seconds}`]),
    [{ onStoreError: 'ignore' }, 'config.session.onStoreError: expected one of fail, anonymous'], [{ onStoreError: false }, 'config.session.onStoreError: expected one of fail, anonymous, not a boolean']
  ] as Array<[unknown, string]>) {
    let error: Error & { code?: string } | undefined
    try { check(session) } catch (caught) { error = caught as Error }
    t.equal(error?.code, 'SESSION_OPTION_INVALID', message)
    t.ok(error?.message.startsWith(`fastify-live-session: GET /x: ${message}`), String(error?.message))
  }
})

test('what asks for a user needs to know whose a session is', async (t) => {
  const rules = new RouteRules('staff', false)
  for (const [staff, setting] of [[{ elevated: true }, 'elevated'], [{ maxAuthAge: 60 }, 'maxAuthAge'], [{ maxAuthAge: 60, elevated: false }, 'maxAuthAge']] as const) {
    t.throws(() => rules.check({ staff }, 'PUT /x'), { code: 'SESSION_OPTION_INVALID', message: `fastify-live-session: PUT /x: config.staff.${setting}: needs the option userField, which says whose a session is` })
  }
  for (const staff of [false, {}, { touch: false }, { elevated: false, maxAuthAge: undefined }, { onStoreError: 'anonymous' }] as const) t.doesNotThrow(() => rules.check({ staff }, 'GET /x'))
  const app = makeBare(t)
  app.register(sessionPlugin, { ...options, userField: undefined })
  app.get('/x', { config: { session: { maxAuthAge: 60 } } }, handler)
  await t.rejects(async () => { await app.ready() }, { code: 'SESSION_OPTION_INVALID', message: /GET \/x: config\.session\.maxAuthAge: needs the option userField/ })
})

/** Every way in which a route may come to be; each adds one with this config, and says where it answers. */
const ways: Record<string, (app: FastifyInstance, config: object) => Promise<string[]> | string[]> = {
  'before the plugin' (app, config) {
    app.get('/x', { config }, handler)
    app.register(sessionPlugin, options)
    return ['GET /x', 'HEAD /x']
  },
  'after the plugin, which is not awaited' (app, config) {
    app.register(sessionPlugin, options)
    app.post('/x', { config }, handler)
    return ['POST /x']
  },
  async 'after the plugin, which is awaited' (app, config) {
    await app.register(sessionPlugin, options)
    app.get('/x', { config, handler })
    return ['GET /x', 'HEAD /x']
  },
  'in a child, before the plugin' (app, config) {
    app.register(async (child) => { child.get('/x', { config }, handler) }, { prefix: '/child' })
    app.register(sessionPlugin, options)
    return ['GET /child/x', 'HEAD /child/x']
  },
  'in a child of a child, after the plugin' (app, config) {
    app.register(sessionPlugin, options)
    app.register(async (child) => { child.register(async (inner) => { inner.delete('/x', { config }, handler) }, { prefix: '/b' }) }, { prefix: '/a' })
    return ['DELETE /a/b/x']
  },
  'in a context with a plugin of its own, before it' (app, config) {
    app.register(async (child) => {
      child.get('/x', { config }, handler)
      child.register(sessionPlugin, options)
    })
    return ['GET /x', 'HEAD /x']
  },
  'beside a sibling with a plugin of its own' (app, config) {
    app.register(async (child) => { await child.register(sessionPlugin, { ...options, cookie: { secure: false, name: 'other' } }) }, { prefix: '/other' })
    app.register(async (child) => {
      await child.register(sessionPlugin, options)
      child.get('/x', { config }, handler)
    })
    return ['GET /x', 'HEAD /x']
  },
  'by route(), with several methods' (app, config) {
    app.register(sessionPlugin, options)
    app.route({ method: ['PUT', 'GET', 'PATCH'], url: '/x', config, handler })
    return ['PUT /x', 'GET /x', 'PATCH /x', 'HEAD /x']
  },
  'for HEAD alone' (app, config) {
    app.register(sessionPlugin, options)
    app.head('/x', { config }, handler)
    return ['HEAD /x']
  },
  'without a HEAD' (app, config) {
    app.get('/x', { config, exposeHeadRoute: false }, handler)
    app.register(sessionPlugin, options)
    return ['GET /x']
  },
  'for a method that is no standard' (app, config) {
    app.addHttpMethod('PURGE')
    app.register(sessionPlugin, options)
    app.route({ method: 'PURGE', url: '/x', config, handler })
    return ['PURGE /x']
  },
  'under the prefix itself' (app, config) {
    app.register(async (child) => { child.get('/', { config }, handler) }, { prefix: '/x' })
    app.register(sessionPlugin, options)
    return ['GET /x', 'GET /x/', 'HEAD /x', 'HEAD /x/']
  },
  'under the prefix with a slash only' (app, config) {
    app.register(async (child) => { child.get('/', { config, prefixTrailingSlash: 'slash' }, handler) }, { prefix: '/x' })
    app.register(sessionPlugin, options)
    return ['GET /x/']
  },
  'under the prefix without a slash only' (app, config) {
    app.register(async (child) => { child.get('/', { config, prefixTrailingSlash: 'no-slash' }, handler) }, { prefix: '/x' })
    app.register(sessionPlugin, options)
    return ['GET /x']
  },
  'for a host, by a constraint' (app, config) {
    app.get('/x', { config, constraints: { host: 'localhost:80' } }, handler)
    app.register(sessionPlugin, options)
    return ['GET /x']
  },
  'with a config that a hook of the application sets' (app, config) {
    app.register(sessionPlugin, options)
    app.register(async (child) => {
      child.addHook('onRoute', (route) => { route.config = { ...route.config, ...config } })
      child.get('/x', handler)
    })
    return ['GET /x', 'HEAD /x']
  },
  'by a hook of the application, for another route' (app, config) {
    app.addHook('onRoute', ({ url }) => { if (url === '/y') app.options('/x', { config }, handler) })
    app.post('/y', handler)
    app.register(sessionPlugin, options)
    return ['OPTIONS /x']
  },
  'when the rest of the app is loaded' (app, config) {
    app.register(sessionPlugin, options)
    app.after(() => { app.get('/x', { config }, handler) })
    return ['GET /x', 'HEAD /x']
  }
}

test('a rule holds, or stops the boot, however its route was added', async (t) => {
  for (const [way, add] of Object.entries(ways)) {
    await t.test(way, async (t) => {
      const good = makeBare(t)
      for (const answers of await add(good, { session: { elevated: true } })) {
        const [method, url] = answers.split(' ') as ['GET', string]
        t.equal((await good.inject({ method, url })).statusCode, 401, answers)
      }
      for (const [wrong, message] of [
        [{ elevate: true }, /^fastify-live-session: [A-Z, ]+ \/[a-z/]+: config\.session\.elevate: unknown; .* did you mean elevated\?$/],
        [{ maxAuthAge: Number.NaN }, /config\.session\.maxAuthAge: expected a number of seconds/],
        [true, /config\.session: expected false, or an object/]
      ] as Array<[unknown, RegExp]>) {
        const app = makeBare(t)
        const answers = await add(app, rule(wrong))
        await t.rejects(async () => { await app.ready() }, { code: 'SESSION_OPTION_INVALID', message }, JSON.stringify(wrong))
        // Whoever goes on all the same.
        for (const [method, url] of answers.map((answer) => answer.split(' ') as ['GET', string])) t.equal((await app.inject({ method, url })).statusCode, 500)
      }
    })
  }
})

test('each instance looks at its own name', async (t) => {
  const two = async (config: object): Promise<FastifyInstance> => {
    const app = makeBare(t)
    app.get('/x', { config }, handler)
    app.register(sessionPlugin, options)
    app.register(sessionPlugin, { ...options, userField: undefined, decoratorName: 'staff', cookie: { secure: false, name: 'staff' } })
    return await app
  }
  await t.rejects(two({ staff: { elevate: true } }).then((app) => app.ready()), { message: /GET \/x: config\.staff\.elevate: unknown/ })
  await t.rejects(two({ staff: { elevated: true } }).then((app) => app.ready()), { message: /config\.staff\.elevated: needs the option userField/ })
  const app = await two({ session: { elevated: true }, staff: { touch: false }, other: { elevate: true } })
  t.equal((await app.inject('/x')).statusCode, 401)
})

test('a rule that nothing enforces stops the boot', async (t) => {
  const elsewhere = async (session: unknown): Promise<FastifyInstance> => {
    const app = makeBare(t)
    app.get('/x', { config: rule(session) }, handler)
    app.register(async (child) => { await child.register(sessionPlugin, options) })
    app.register(async (child) => { await child.register(sessionPlugin, { ...options, cookie: { secure: false, name: 'other' } }) })
    return await app
  }
  for (const guard of [{ elevated: true }, { maxAuthAge: 60 }]) {
    await t.rejects(elsewhere(guard).then((app) => app.ready()), { code: 'SESSION_OPTION_INVALID', message: /GET \/x: config\.session: nothing guards this route: register the plugin in a context that the route belongs to/ })
  }
  await t.rejects(elsewhere({ elevate: true }).then((app) => app.ready()), { message: /config\.session\.elevate: unknown/ })
  for (const harmless of [false, {}, { touch: false }, undefined]) t.equal((await (await elsewhere(harmless)).inject('/x')).statusCode, 200)
})

test('a rule that stands where nobody reads it stops the boot', async (t) => {
  const boot = async (route: object, more: SessionOptions[] = [{}]): Promise<FastifyInstance> => {
    const app = makeBare(t)
    app.get('/x', route, handler)
    for (const [i, given] of more.entries()) await app.register(sessionPlugin, { ...options, cookie: { secure: false, name: `s${i}` }, ...given })
    await app.ready()
    return app
  }
  const staff = { decoratorName: 'staff' }
  for (const [route, instances, message] of [
    // @fastify/helmet and others have their settings there.
    [{ session: { elevated: true } }, [{}], /GET \/x: session: it belongs into the route's config.*\{ config: \{ session: …/],
    [{ staff: { maxAuthAge: 60 } }, [{}, staff], /GET \/x: staff: it belongs into the route's config/],
    [{ config: { sessions: { elevated: true } } }, [{}], /GET \/x: config\.sessions: no instance .* guards nothing; did you mean config\.session\?$/],
    [{ config: { Session: { elevated: 'yes' } } }, [{}], /did you mean config\.session\?$/],
    [{ config: { sesion: { maxAuthAge: '1h' } } }, [{}], /config\.sesion: .*did you mean config\.session\?$/],
    [{ config: { staf: { elevated: true } } }, [{}, staff], /config\.staf: .*did you mean config\.staff\?$/],
    // Renamed by an option or a variable, the routes as they were.
    [{ config: { session: { elevated: true } } }, [staff], /config\.session: .*did you mean config\.staff\?$/],
    [{ config: { session: { maxAuthAge: 60 } } }, [staff, { decoratorName: 'shop' }], /did you mean config\.staff or config\.shop\?$/]
  ] as Array<[object, SessionOptions[], RegExp]>) await t.rejects(boot(route, instances), { code: 'SESSION_OPTION_INVALID', message }, JSON.stringify(route))
  for (const harmless of [{ session: false }, { session: { touch: false } }, { config: { auth: { elevated: true } } }, { config: { sessions: { elevated: false } } }, { config: { sessions: 5 } }, { config: { elevated: true } }]) await t.resolves(boot(harmless), JSON.stringify(harmless))
})

test('apps without the plugin are left alone, and no app knows the routes of another', async (t) => {
  const without = makeBare(t)
  without.get('/x', { config: rule({ elevate: true }) }, handler)
  t.equal((await without.inject('/x')).statusCode, 200)
  const other = makeBare(t)
  other.register(sessionPlugin, options)
  other.get('/x', { config: { session: { touch: false } } }, handler)
  t.equal((await other.inject('/x')).statusCode, 200)
})

test('a handler for what is not found is no hole either', async (t) => {
  const withRule = (session: unknown): FastifyInstance => {
    const app = makeBare(t)
    app.register(sessionPlugin, options)
    app.setNotFoundHandler({ config: rule(session) } as object, (_request, reply) => { reply.code(404).send('out') })
    return app
  }
  t.match((await withRule({ elevate: true }).inject('/x')).json(), { statusCode: 500, code: 'SESSION_OPTION_INVALID', message: /: setNotFoundHandler: config\.session\.elevate: unknown/ })
  t.equal((await withRule({ elevated: true }).inject('/x')).statusCode, 401)
  t.equal((await withRule(undefined).inject('/x')).statusCode, 404)
})

test('a rule is what it was when the app booted', async (t) => {
  const app = makeBare(t)
  const session: { elevated?: boolean } = { elevated: true }
  const config = { session }
  app.register(sessionPlugin, options)
  app.get('/x', { config }, handler)
  t.equal((await app.inject('/x')).statusCode, 401)
  session.elevated = false
  delete session.elevated
  t.equal((await app.inject('/x')).statusCode, 401)
})

test('what the plugin was never told of is checked by its first request', async (t) => {
  // The app, and its route, are there before anything of the plugin is loaded.
  const source = `
    const { default: Fastify } = await import('fastify')
    const app = Fastify()
    const handler = async () => 'in'
    for (const [url, session] of Object.entries({ '/typo': { elevate: true }, '/null': null, '/guarded': { elevated: true }, '/open': {} })) app.get(url, { config: { session } }, handler)
    app.register(async (child) => { child.get('/child', { config: { session: { maxAuthAge: 'an hour' } } }, handler) })
    const { default: sessionPlugin } = await import(${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)})
    const add = (context) => {
      context.register(sessionPlugin, ${JSON.stringify(options)})
      context.after(() => { context.get('/late', { config: { session: process.argv.includes('late') ? { elevate: true } : { elevated: true } } }, handler) })
    }
    if (process.argv.includes('in-child')) app.register(async (child) => { add(child) })
    else add(app)
    try {
      await app.ready()
      const answers = {}
      for (const url of ['/typo', '/null', '/guarded', '/open', '/child', '/late', '/typo']) {
        const { statusCode, body } = await app.inject(url)
        answers[url] = [statusCode, body.match(/SESSION_[A-Z_]+/)?.[0] ?? '']
      }
      console.log(JSON.stringify(answers))
    } catch (error) {
      console.log(JSON.stringify({ boot: error.message }))
    }
    await app.close()`
  const run = async (...args: string[]): Promise<unknown> => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', source, ...args], { env: { PATH: process.env['PATH'], NODE_OPTIONS: '' } })
    return JSON.parse(stdout) as unknown
  }
  const invalid = [500, 'SESSION_OPTION_INVALID']
  t.strictSame(await run(), {
    '/typo': invalid, '/null': invalid, '/guarded': [401, 'SESSION_LOGIN_REQUIRED'], '/open': [200, ''], '/child': invalid, '/late': [401, 'SESSION_LOGIN_REQUIRED']
  })
  for (const where of [[], ['in-child']]) {
    t.match(await run('late', ...where), { boot: /GET \/late: config\.session\.elevate: unknown/ }, 'what is added after the plugin is known to it')
  }
})
