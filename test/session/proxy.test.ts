/* eslint no-prototype-builtins: off -- whether a session has these methods is what is tested here */
import { test } from 'tap'
import { deepStrictEqual } from 'node:assert/strict'
import { Console } from 'node:console'
import { Writable } from 'node:stream'
import { format, inspect } from 'node:util'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { makeApp, onEveryStore } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startRedis } from '../support/redis-process.js'

/** What a test does with the session of one request; its result is the answer. */
type Step = (session: any, request: FastifyRequest) => unknown

/** An app whose requests run whatever the test says next. */
async function scripted (t: Parameters<typeof makeApp>[0], redis: string, options = {}) {
  let step: Step = () => undefined
  const app = await makeApp(t, { redis, ...options }, (app: FastifyInstance) => {
    app.get('/', async (request) => ({ result: await step(request.session, request) ?? null }))
  })
  const browser = new Browser(app)
  const visit = async (next: Step, client = browser): Promise<any> => {
    step = next
    const response = await client.get('/')
    return response.statusCode === 200 ? response.json().result : { status: response.statusCode, ...response.json() }
  }
  return { app, browser, visit }
}

const HOSTILE = ['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty', 'then', 'catch', 'toJSON',
  'save', 'destroy', 'get', 'set', 'has', 'data', 'live', 'id', 'isNew', 'clear', 'rotate', 'regenerate', 'touch', 'reload',
  'remember', 'expiresAt', 'createdAt', 'lastAccessedAt', 'idleTimeout', '', ' ', 'ключ', '🔑', 'a.b', 'a b', '0']

test('properties are typed data that survive to the next request', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    const values = {
      text: 'andrew',
      empty: '',
      zip: '02134',
      digits: '42',
      truth: 'true',
      spaced: ' 5',
      json: '{"a":1}',
      quoted: '"x"',
      unicode: 'žluťoučký 🐎',
      newline: 'a\nb',
      int: 3,
      negative: -7,
      decimal: 0.1,
      big: 1e308,
      zero: 0,
      yes: true,
      no: false,
      nothing: null,
      list: [1, 'two', [3], null],
      object: { a: { b: [{}] } }
    }
    await visit((session) => { Object.assign(session, values) })
    t.strictSame(await visit((session) => session.data()), values)
    t.strictSame(await visit((session) => ({ ...session })), values, 'spread')
    t.strictSame(await visit((session) => JSON.parse(JSON.stringify(session))), values, 'JSON.stringify')
    t.strictSame(await visit((session) => Object.keys(session).sort()), Object.keys(values).sort())
    t.strictSame(await visit((session) => ['text' in session, 'absent' in session, session.has('zero'), session.absent === undefined]), [true, false, true, true])
    await visit((session) => { delete session.text; session.empty = undefined; session.set('zip', undefined) })
    t.strictSame(await visit((session) => [session.text, 'text' in session, session.has('empty'), session.get('zip')].map((value) => value ?? 'absent')), ['absent', false, false, 'absent'])
  })
})

test('nested changes are noticed, whatever way a value is mutated', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    await visit((session) => { session.cart = []; session.grant = { response: {} }; session.sorted = [3, 1, 2] })
    await visit((session) => { session.cart.push({ id: 1 }); session.grant.response.x = 1; session.sorted.sort() })
    await visit((session) => { session.cart[0].id++; delete session.grant.response.x; session.grant.y = 'z'; session.sorted.length = 1 })
    t.strictSame(await visit((session) => session.data()), { cart: [{ id: 2 }], grant: { response: {}, y: 'z' }, sorted: [1] })
    await visit((session) => { const { cart } = session; cart.push('more'); session.cart = cart })
    t.strictSame(await visit((session) => session.cart), [{ id: 2 }, 'more'], 'the same reference, assigned again')
    await visit((session) => { session.late = []; session.late.push(1) })
    t.strictSame(await visit((session) => session.late), [1], 'changed after it was assigned')
  })
})

test('no name is special: every method\'s name and every name of Object.prototype is safe as data', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    await visit((session) => { for (const name of HOSTILE) session.set(name, { is: name }) })
    t.strictSame(await visit((session) => HOSTILE.map((name) => session.get(name)?.is)), HOSTILE)
    t.strictSame(await visit((session) => Object.keys(session).sort()), [...HOSTILE].sort())
    t.strictSame(await visit((session) => Object.entries(session.data()).map(([name, value]: any) => name === value.is)), HOSTILE.map(() => true))
    t.strictSame(await visit(async (session) => [typeof session.save, typeof session.destroy, typeof session.id, (await session) === undefined, session.then.is]), ['function', 'function', 'string', false, 'then'])
    t.equal(({} as any).is, undefined, 'no prototype was touched')
    t.strictSame(await visit(async (session) => await session.live[HOSTILE[0]!].get()), { is: '__proto__' })
    await visit((session) => { for (const name of HOSTILE) session.set(name, undefined) })
    t.strictSame(await visit((session) => session.data()), {})
  })
})

test('names of the session itself throw when assigned or deleted, and say what to do', async (t) => {
  const { visit } = await scripted(t, 'memory:')
  t.match(await visit((session) => { session.destroy = 1 }), { status: 500, code: 'SESSION_PROPERTY_RESERVED', message: /session\.set\('destroy', value\)/ })
  t.match(await visit((session) => { delete session.save }), { status: 500, code: 'SESSION_PROPERTY_RESERVED' })
  t.match(await visit((session) => { session.id = 'x' }), { code: 'SESSION_PROPERTY_RESERVED' })
  for (const name of ['@x', '@digest', 'created_at', 'last_accessed_at', 'session_ttl', '\ud800', 'x'.repeat(300)]) {
    t.match(await visit((session) => { session.set(name, 1) }), { status: 500, code: 'SESSION_NAME_INVALID' }, JSON.stringify(name.slice(0, 20)))
    t.match(await visit((session) => session.live[name].set(1)), { status: 500, code: 'SESSION_NAME_INVALID' })
    t.match(await visit((session) => session.live[name].incr()), { status: 500, code: 'SESSION_NAME_INVALID' })
  }
  t.equal(await visit((session) => session.live['@digest'].str), '', 'metadata are not readable as data')
})

test('a key that is no string is refused wherever one is asked for, and nothing has changed', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    await visit((session) => { session.cart = [1]; session.set('5', 'five'); session.set('undefined', 'u') })
    const data = await visit((session) => session.data())
    const before = await visit((session) => session.id)
    for (const key of [5, undefined, null, Symbol('s'), {}, ['cart'], true]) {
      for (const step of [
        (session: any) => session.get(key), (session: any) => session.has(key), (session: any) => session.set(key, 1), (session: any) => session.set(key, undefined), (session: any) => session.regenerate(['cart', key])
      ]) {
        t.match(await visit(step), { status: 500, code: 'SESSION_NAME_INVALID', message: /a name is a string; pass one, such as 'cart'/ })
      }
    }
    for (const keys of ['cart', 5, new Set(['cart']), { cart: true }]) {
      t.match(await visit((session) => session.regenerate(keys)), { status: 500, code: 'SESSION_NAME_INVALID', message: /names are passed as an array of strings, such as \['cart'\]/ })
    }
    t.strictSame(await visit((session) => session.data()), data)
    t.equal(await visit((session) => session.id), before, 'not regenerated')
    t.equal(await visit((session) => session[5]), 'five', 'as a property, JavaScript makes it a string')
    for (const none of [[], [undefined], [null]]) {
      await visit((session) => { session.cart = [2] })
      await visit((session) => session.regenerate(...none))
      t.strictSame(await visit((session) => session.data()), {}, 'no keys: nothing is carried over')
    }
    await visit((session) => { session.cart = [3] })
    await visit((session) => session.regenerate(['cart', '@digest', 'absent']))
    t.strictSame(await visit((session) => session.data()), { cart: [3] })
  })
})

test('what JSON cannot carry is refused where it is written, and nothing is stored', async (t) => {
  await onEveryStore(t, async (t, { redis, name }) => {
    const { visit, browser } = await scripted(t, redis)
    const cycle: any = {}
    cycle.self = cycle
    const refused: Record<string, unknown> = {
      nan: Number.NaN,
      infinity: Infinity,
      function: () => 1,
      symbol: Symbol('s'),
      bigint: 1n,
      cycle,
      map: new Map(),
      set: new Set(),
      buffer: Buffer.from('x'),
      hole: [undefined],
      nested: { a: [{ b: Number.NaN }] },
      regexp: /x/,
      error: new Error('x'),
      promise: Promise.resolve()
    }
    for (const [what, value] of Object.entries(refused)) {
      t.match(await visit((session) => { session.other = 1; session.bad = value }), { status: 500, code: 'SESSION_VALUE_INVALID', message: /"bad"/ }, what)
      t.match(await visit((session) => session.live.bad.set(value)), { status: 500, code: 'SESSION_VALUE_INVALID' }, `${what}, live`)
    }
    t.equal(browser.jar.size, 0, `no session came of it in ${name}`)
    t.match(await visit((session) => { session.list = []; session.list.push(undefined) }), { status: 500, code: 'SESSION_VALUE_INVALID' }, 'found when saved')
    t.match(await visit((session) => { session.list = [] }), null)
    t.match(await visit((session) => { session.list.push(session.list) }), { status: 500, code: 'SESSION_VALUE_INVALID' }, 'a cycle in what was read')
    await visit((session) => { delete session.list })
    await visit((session) => { session.when = new Date(0); session.optional = { a: undefined, b: 1 } })
    t.strictSame(await visit((session) => session.data()), { when: '1970-01-01T00:00:00.000Z', optional: { b: 1 } }, 'what JSON carries in its own way')
  })
})

test('limits have named errors, and a refused write changes nothing', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis, { maxFields: 3, maxFieldSize: 1000, maxRecordSize: 2000, maxDepth: 3 })
    await visit((session) => { session.a = 'x'.repeat(900); session.b = 'x'.repeat(900) })
    const before = await visit((session) => session.data())
    t.match(await visit((session) => { session.c = 'ž'.repeat(600) }), { status: 500, code: 'SESSION_FIELD_TOO_LARGE' })
    t.match(await visit((session) => { session.c = [[[[]]]] }), { status: 500, code: 'SESSION_VALUE_TOO_DEEP' })
    t.match(await visit((session) => { session.a = 'y'; session.c = 'x'.repeat(900); session.d = 'x'.repeat(900) }), { status: 500, code: 'SESSION_TOO_MANY_FIELDS' })
    t.match(await visit((session) => { session.c = 'x'.repeat(900) }), { status: 500, code: 'SESSION_RECORD_TOO_LARGE' })
    t.match(await visit((session) => session.live.c.set('x'.repeat(900))), { status: 500, code: 'SESSION_RECORD_TOO_LARGE' })
    t.strictSame(await visit((session) => session.data()), before)
    await visit((session) => { delete session.a; session.c = 'x'.repeat(900) })
    t.strictSame(await visit((session) => Object.keys(session).sort()), ['b', 'c'], 'what is removed makes room')
    const fields = Array.from({ length: 20 }, (_, i) => `f${i}`)
    await visit((session) => { session.clear() })
    await visit((session) => Promise.allSettled(fields.map((field) => session.live[field].set(1))))
    t.equal((await visit((session) => Object.keys(session))).length, 3, 'parallel writes do not get past a limit')
  })
})

test('a schema types fields where they are written and hides what does not fit', async (t) => {
  const { Type } = await import('@sinclair/typebox')
  const schema = Type.Object({ count: Type.Optional(Type.Integer({ minimum: 0, maximum: 10 })), name: Type.Optional(Type.String()) })
  await onEveryStore(t, async (t, { redis }) => {
    const { visit, app } = await scripted(t, redis, { schema })
    t.match(await visit((session) => { session.count = 'many' }), { status: 500, code: 'SESSION_SCHEMA_MISMATCH', message: /"count"/ })
    t.match(await visit((session) => session.live.count.set(1.5)), { status: 500, code: 'SESSION_SCHEMA_MISMATCH' })
    await visit((session) => { session.count = 9; session.free = 'fields that the schema does not name are free' })
    t.equal(await visit((session) => session.live.count.incr()), 10)
    t.match(await visit((session) => session.live.count.incr()), { status: 500, code: 'SESSION_NUMBER_RANGE' }, 'incr respects the schema\'s maximum')
    // Somebody else writes what does not fit.
    const other = await makeApp(t, { redis }, (app) => { app.get('/', async (request: any) => { request.session.count = 'nonsense'; return {} }) })
    if (redis !== 'memory:') {
      const token = await visit((_, request) => request.headers.cookie)
      await other.inject({ url: '/', headers: { cookie: token } })
      t.strictSame(await visit((session) => [session.count === undefined, 'count' in session, Object.keys(session)]), [true, false, ['free']])
      t.equal(await visit(async (session) => await session.live.count.get() === undefined), true)
    }
    t.ok(app)
  })
})

/** What somebody who looks for errors may print. */
const PRINTS: Record<string, (session: any) => string> = {
  'console.log': (session) => printedBy((console) => { console.log(session) }),
  'console.log %o': (session) => printedBy((console) => { console.log('%o', session) }),
  'console.log within': (session) => printedBy((console) => { console.log({ request: [{ session }] }) }),
  'console.dir': (session) => printedBy((console) => { console.dir(session) }),
  'console.dir of all': (session) => printedBy((console) => { console.dir(session, { showHidden: true, depth: null }) }),
  inspect: (session) => inspect(session),
  'inspect showProxy': (session) => inspect(session, { showProxy: true, depth: null }),
  'inspect everything': (session) => inspect({ session }, { showProxy: true, showHidden: true, getters: true, depth: null }),
  'inspect without the object\'s own way': (session) => inspect(session, { customInspect: false, showHidden: true, getters: true, depth: null }),
  'inspect flat': (session) => inspect({ session }, { depth: 0 }),
  'by its own way, called on something else': (session) => session[inspect.custom].call(undefined, 2, {}),
  '%O': (session) => format('%O', session),
  '%s': (session) => format('%s', session),
  '%d': (session) => format('%d', session),
  String,
  template: (session) => `${session}`,
  concatenation: (session) => 'session: ' + session,
  toString: (session: any) => session.toString(),
  toLocaleString: (session: any) => session.toLocaleString(),
  'Object.prototype.toString': (session) => Object.prototype.toString.call(session)
}
/** Those that show the data. */
const SHOWING = ['console.log', 'console.log %o', 'inspect', 'inspect showProxy', 'inspect everything', 'by its own way, called on something else', '%O']

function printedBy (print: (console: Console) => void): string {
  let printed = ''
  print(new Console(new Writable({ write (chunk, _encoding, done) { printed += chunk; done() } })))
  return printed
}

const printAll = (session: any): Record<string, string> => Object.fromEntries(Object.entries(PRINTS).map(([how, print]) => [how, print(session)]))

test('printing a session never throws and never shows a secret, whatever state it is in', async (t) => {
  const lines: any[] = []
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const states: Record<string, Record<string, string>> = {}
  const unloaded: unknown[] = []
  const app = await makeApp(t, { redis: redis.url, timeout: 500, lines }, (app) => {
    app.get('/', async ({ session, log }: any) => {
      states['new'] = printAll(session)
      session.user = 'andrew'
      states['changed'] = printAll(session)
      log.info({ session }, 'here it is')
    })
    app.get('/loaded', async ({ session }: any) => { states['loaded'] = printAll(session) })
    app.get('/odd', async ({ session }: any) => {
      for (const name of ['toString', 'valueOf', 'toLocaleString', 'constructor', 'inspect']) session.set(name, null)
      const { toString: _, toLocaleString: __, ...others } = PRINTS
      for (const [how, print] of Object.entries(others)) t.type(print(session), 'string', `${how} of a session whose data are called like that`)
      session.clear()
      session.user = 'andrew'
    })
    app.get('/ended', async ({ session }: any) => {
      await session.destroy()
      states['ended'] = printAll(session)
    })
    app.get('/disabled', { config: { session: false } }, async ({ session }: any) => { states['disabled'] = printAll(session) })
    app.get('/degraded', { config: { session: { onStoreError: 'anonymous' } } }, async ({ session }: any) => { states['degraded'] = printAll(session) })
    app.addHook('onResponse', async ({ session, url }: any) => { if (url === '/loaded') states['sealed'] = printAll(session) })
    app.addHook('onError', async ({ session, log }: any, _, error: any) => {
      if (error.code !== 'SESSION_STORE_UNAVAILABLE') return
      states['not loaded'] = printAll(session)
      log.error({ session }, 'what happened')
      for (const look of [() => session.user, () => session.hasOwnProperty('user'), () => Object.keys(session), () => ({ ...session }), () => JSON.stringify(session)]) {
        try { unloaded.push(look()) } catch (error) { unloaded.push((error as { code: string }).code) }
      }
    })
  })
  const browser = new Browser(app)
  await browser.get('/')
  const secret = browser.token!.split('.')[1]!
  const stale = browser.clone()
  for (const url of ['/loaded', '/odd', '/disabled', '/ended']) t.equal((await browser.get(url)).statusCode, 200, url)
  await redis.stop()
  t.equal((await stale.get('/degraded')).statusCode, 200)
  t.equal((await stale.get('/')).statusCode, 503)

  t.strictSame(Object.keys(states).sort(), ['changed', 'degraded', 'disabled', 'ended', 'loaded', 'new', 'not loaded', 'sealed'])
  for (const [state, prints] of Object.entries(states)) {
    for (const [how, printed] of Object.entries(prints)) {
      t.type(printed, 'string', `${state}, ${how}`)
      t.notMatch(printed, secret, `${state}, ${how}`)
      t.equal(SHOWING.includes(how) && /user: 'andrew'/.test(printed), SHOWING.includes(how) && ['changed', 'loaded', 'sealed'].includes(state), `${state}, ${how}: shows the data there are`)
    }
  }
  t.match(states['loaded']?.['inspect'], /^Session \{ id: '.{22}', isNew: false, user: 'andrew' \}$/)
  t.match(states['not loaded']?.['inspect'], /^Session \{ id: '.{22}', isNew: true \}$/, 'empty and degraded')
  for (const how of ['String', 'template']) t.strictSame(new Set(Object.values(states).map((prints) => prints[how])), new Set(['[object Session]']), how)
  t.strictSame(unloaded, [undefined, false, [], {}, '{}'], 'it can be looked at, for an error page')
  t.notMatch(JSON.stringify(lines), secret)
  t.match(lines.find(({ msg }) => msg === 'here it is'), { session: { user: 'andrew' } })
  t.ok(lines.some(({ msg }) => msg === 'what happened'))
})

/** What the clone functions of lodash do, in short: by tag, then key by key. */
function clone (value: any, deep: boolean): any {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => deep ? clone(item, deep) : item)
  const tag = Symbol.toStringTag in value ? String(value[Symbol.toStringTag]) : Object.prototype.toString.call(value)
  if (tag !== '[object Object]') return {}
  const copy = typeof value.constructor === 'function' ? Object.create(Object.getPrototypeOf(value)) : {}
  for (const key of Object.keys(value)) copy[key] = deep ? clone(value[key], deep) : value[key]
  return copy
}

/** What others do: by the constructor and `for in`. */
function cloneByLoop (value: any): any {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(cloneByLoop)
  const copy: any = value.constructor !== Object && typeof value.constructor === 'function' ? new value.constructor() : {}
  for (const key in value) if (Object.prototype.hasOwnProperty.call(value, key)) copy[key] = cloneByLoop(value[key])
  return copy
}

test('a copy of a session is its data, however it is made', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    const data = { user: { name: 'ann', roles: ['a', { of: 'b' }] }, n: 0, nothing: null }
    await visit((session) => { Object.assign(session, data) })
    await visit((session) => {
      for (const [how, copy] of Object.entries({
        clone: clone(session, false),
        cloneDeep: clone(session, true),
        'a loop': cloneByLoop(session),
        spread: { ...session },
        assign: Object.assign({}, session),
        entries: Object.fromEntries(Object.entries(session)),
        JSON: JSON.parse(JSON.stringify(session)),
        data: session.data()
      })) {
        t.strictSame(copy, data, how)
        t.equal(Object.getPrototypeOf(copy), Object.prototype, `${how}: a plain object`)
      }
      t.equal(clone(session, false).user, session.user)
      t.not(clone(session, true).user, session.user)
      t.doesNotThrow(() => { deepStrictEqual(session, data) }, 'it equals its data')
      t.throws(() => structuredClone(session), { name: 'DataCloneError' }, 'which takes no proxy')
    })
    t.strictSame(await visit((session) => session.data()), data, 'nothing has changed')
  })
})

test('a session can do what every object can, as far as its data have no such name', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    const names = ['hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', 'toLocaleString', 'toString', 'valueOf']
    t.strictSame(await visit((session) => {
      session.user = 'ann'
      return [
        session.hasOwnProperty('user'), session.hasOwnProperty('absent'), session.hasOwnProperty('save'), session.hasOwnProperty('toString'), session.propertyIsEnumerable('user'), session.propertyIsEnumerable('toString'),
        session.isPrototypeOf({}), session.isPrototypeOf(Object.create(session)), session.valueOf() === session, session.toString(), session.toLocaleString()
      ]
    }), [true, false, false, false, true, false, false, true, true, '[object Object]', '[object Object]'])
    t.strictSame(await visit((session) => [names.some((name) => name in session), names.some((name) => session.has(name)), Object.keys(session), names.map((name) => session.get(name) ?? null), JSON.stringify(session)]),
      [false, false, ['user'], names.map(() => null), '{"user":"ann"}'], 'none of it is data')
    await visit((session) => { for (const name of names) session[name] = name === 'valueOf' ? null : `my ${name}` })
    t.strictSame(await visit((session) => names.map((name) => String(session[name]))), ['my hasOwnProperty', 'my isPrototypeOf', 'my propertyIsEnumerable', 'my toLocaleString', 'my toString', 'null'], 'data win')
    t.strictSame(await visit((session) => [`${session}`, Object.keys(session).length, 'toString' in session]), ['[object Session]', 7, true])
    t.strictSame(await visit((session) => { for (const name of names) delete session[name]; return [names.map((name) => typeof session[name]), Object.keys(session)] }), [names.map(() => 'function'), ['user']])
    t.strictSame(await visit((session) => ['constructor', '__proto__', 'then', '__defineGetter__', 'inspect'].map((name) => session[name] ?? null)), [null, null, null, null, null], 'nothing else is inherited')
    t.match(await visit((session) => Reflect.setPrototypeOf(session, null)), false)
    t.match(await visit((session) => Reflect.preventExtensions(session)), false)
  })
})

test('request.session = null ends the session, and nothing else can be assigned', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit, browser, app } = await scripted(t, redis)
    const id = await visit((session) => { session.a = 1; return session.id })
    t.match(await visit((_, request) => { (request as any).session = { a: 2 } }), { status: 500, code: 'SESSION_NOT_ASSIGNABLE' })
    t.strictSame(await visit((session) => session.data()), { a: 1 })
    await visit((_, request) => { (request as any).session = null })
    t.equal(browser.jar.size, 0, 'the cookie was cleared')
    t.equal(await app.sessions.inspect(id), undefined)
  })
})
