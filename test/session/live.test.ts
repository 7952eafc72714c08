import { Kind, Type, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { test } from 'tap'
import { MemoryStore } from '../../src/index.js'
import { FieldSchema } from '../../src/session/schema.js'
import { makeApp, onEveryStore, sharedRedis } from '../support/app.js'
import { Browser, Gate } from '../support/browser.js'

type Step = (session: any) => unknown

async function scripted (t: Parameters<typeof makeApp>[0], redis: string, options = {}) {
  let step: Step = () => undefined
  const app = await makeApp(t, { redis, ...options }, (app) => {
    app.get('/', async (request) => ({ result: await step(request.session) ?? null }))
  })
  const browser = new Browser(app)
  const visit = async (next: Step): Promise<any> => {
    step = next
    const response = await browser.get('/')
    return response.statusCode === 200 ? response.json().result : { status: response.statusCode, ...response.json() }
  }
  return { app, browser, visit }
}

test('typed accessors read the store, with the stated fallbacks', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    await visit((session) => { Object.assign(session, { text: 'andrew', int: 42, digits: '42', zip: '02134', decimal: 1.5, yes: true, python: 'True', no: false, object: { a: [1] }, list: [1], nil: null, quoted: '"q"' }) })
    const read = async (name: string) => await visit(async ({ live }) => {
      const [raw, str, int, bool, json, none] = await Promise.all([live[name].raw, live[name].str, live[name].int, live[name].bool, live[name].json, live[name].none])
      return { raw: raw === null ? null : Buffer.isBuffer(raw) && String(raw), str, int, bool, json, none }
    })
    t.strictSame(await read('text'), { raw: 'andrew', str: 'andrew', int: 0, bool: false, json: {}, none: false })
    t.strictSame(await read('int'), { raw: '42', str: '42', int: 42, bool: false, json: 42, none: false })
    t.strictSame(await read('digits'), { raw: '"42"', str: '42', int: 42, bool: false, json: '42', none: false })
    t.strictSame(await read('zip'), { raw: '02134', str: '02134', int: 2134, bool: false, json: {}, none: false })
    t.strictSame(await read('decimal'), { raw: '1.5', str: '1.5', int: 0, bool: false, json: 1.5, none: false })
    t.strictSame(await read('yes'), { raw: 'true', str: 'true', int: 0, bool: true, json: true, none: false })
    t.strictSame(await read('python'), { raw: 'True', str: 'True', int: 0, bool: true, json: {}, none: false })
    t.strictSame(await read('no'), { raw: 'false', str: 'false', int: 0, bool: false, json: false, none: false })
    t.strictSame(await read('object'), { raw: '{"a":[1]}', str: '{"a":[1]}', int: 0, bool: false, json: { a: [1] }, none: false })
    t.strictSame(await read('list'), { raw: '[1]', str: '[1]', int: 0, bool: false, json: [1], none: false })
    t.strictSame(await read('nil'), { raw: 'null', str: 'null', int: 0, bool: false, json: null, none: false })
    t.strictSame(await read('quoted'), { raw: '"\\"q\\""', str: '"q"', int: 0, bool: false, json: '"q"', none: false })
    t.strictSame(await read('absent'), { raw: null, str: '', int: 0, bool: false, json: {}, none: true })
  })
})

test('a live read is fresh, while the snapshot stands still', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const gate = new Gate()
    const app = await makeApp(t, { redis }, (app) => {
      app.get('/set', async ({ session }: any) => { session.color = 'red' })
      app.get('/change', async ({ session }: any) => { session.color = 'blue' })
      app.get('/read', async ({ session }: any) => {
        await gate.pass()
        return { snapshot: session.color, live: await session.live.color.get(), again: session.color }
      })
    })
    const browser = new Browser(app)
    await browser.get('/set')
    const reading = browser.json('/read')
    await gate.arrived(1)
    await browser.get('/change')
    gate.open()
    t.strictSame(await reading, { snapshot: 'red', live: 'blue', again: 'red' })
  })
})

test('live writes are stored at once, and the snapshot of the same request shows them', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit, app } = await scripted(t, redis)
    t.strictSame(await visit(async (session) => {
      await session.live.count.incr(5)
      await session.live.name.set('andrew')
      const stored = (await app.sessions.inspect(session.id))!.fields
      return [session.count, session.name, stored.count, stored.name, session.isNew]
    }), [5, 'andrew', '5', 'andrew', false], 'the first live write creates the record')
    t.strictSame(await visit(async (session) => [
      await session.live.count.incr(), await session.live.count.incr(-2.5), session.count,
      await session.live.name.setIfAbsent('other'), await session.live.color.setIfAbsent('red'), session.color,
      await session.live.color.delete(), await session.live.color.delete(), 'color' in session,
      await session.live.name.take(), await session.live.name.take() ?? null, 'name' in session
    ]), [6, 3.5, 3.5, false, true, 'red', true, false, false, 'andrew', null, false])
    await visit((session) => session.live.count.set(undefined))
    t.equal(await visit((session) => session.live.count.none), true, 'undefined removes')
  })
})

test('operations of one request happen in the order of the program, saved or live', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    t.equal(await visit(async (session) => { session.count = 5; return await session.live.count.incr() }), 6, 'an unsaved change of the field goes first')
    t.strictSame(await visit((session) => session.data()), { count: 6 })
    t.strictSame(await visit(async (session) => { delete session.count; return [await session.live.count.setIfAbsent(1), session.count] }), [true, 1])
    t.strictSame(await visit(async (session) => { session.clear(); session.list = [1]; return await session.live.list.update((list: number[]) => [...list, 2]) }), [1, 2])
    t.strictSame(await visit((session) => session.data()), { list: [1, 2] })
    await visit(async (session) => { session.list.push(3); await session.live.list.update((list: number[]) => [...list, 4]); session.list.push(5) })
    t.strictSame(await visit((session) => session.list), [1, 2, 3, 4, 5])
    t.strictSame(await visit(async (session) => { await Promise.all([session.live.n.set(1), session.live.n.incr(), session.live.n.incr()]); return session.n }), 3, 'one batch, in order')
  })
})

test('50 parallel increments are exactly 50, also decimals, and one of 20 callers takes', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, (app) => {
      app.get('/start', async ({ session }: any) => { session.ticket = { for: 'one' } })
      app.get('/incr', async ({ session }: any) => ({ n: await session.live.n.incr(0.1) }))
      app.get('/take', async ({ session }: any) => ({ got: await session.live.ticket.take() ?? null }))
      app.get('/update', async ({ session }: any) => ({ set: await session.live.set.update((set: number[] = []) => [...set, set.length]) }))
      app.get('/', async ({ session }: any) => session.data())
    })
    const browser = new Browser(app)
    await browser.get('/start')
    const sums = await Promise.all(Array.from({ length: 50 }, async () => (await browser.json('/incr')).n))
    t.strictSame(sums.sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => (i + 1) / 10), 'every value once, exact')
    const taken = await Promise.all(Array.from({ length: 20 }, async () => (await browser.json('/take')).got))
    t.strictSame(taken.filter((got) => got !== null), [{ for: 'one' }])
    await Promise.all(Array.from({ length: 8 }, () => browser.json('/update')))
    const { n, set } = await browser.json('/')
    t.equal(n, 5)
    t.strictSame(set, [0, 1, 2, 3, 4, 5, 6, 7], 'no update was lost')
  })
})

test('incr is exact to 2^53-1, refuses what is beyond, and has no effect on what is no number', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    await visit((session) => { Object.assign(session, { n: Number.MAX_SAFE_INTEGER - 1, text: 'x', digits: '5', object: {}, nil: null, yes: true }) })
    t.equal(await visit((session) => session.live.n.incr()), Number.MAX_SAFE_INTEGER)
    t.match(await visit((session) => session.live.n.incr()), { status: 500, code: 'SESSION_NUMBER_RANGE' })
    t.match(await visit((session) => session.live.n.incr(0.5)), { status: 500, code: 'SESSION_NUMBER_RANGE' })
    t.equal(await visit((session) => session.n), Number.MAX_SAFE_INTEGER)
    const before = await visit((session) => session.data())
    for (const name of ['text', 'digits', 'object', 'nil', 'yes']) {
      t.match(await visit((session) => session.live[name].incr()), { status: 500, code: 'SESSION_NOT_A_NUMBER', message: new RegExp(name) })
    }
    t.match(await visit((session) => session.live.n.incr(Number.NaN)), { status: 500, code: 'SESSION_VALUE_INVALID' })
    t.match(await visit((session) => session.live.n.incr(Infinity)), { status: 500, code: 'SESSION_VALUE_INVALID' })
    t.strictSame(await visit((session) => session.data()), before)
    t.strictSame(await visit(async (session) => await Promise.allSettled([session.live.text.incr(), session.live.good.incr()]).then((all) => all.map(({ status }) => status))), ['rejected', 'fulfilled'], 'a refusal is nobody else\'s')
  })
})

TypeRegistry.Set('Even', (_, value) => typeof value === 'number' && value % 2 === 0)

/** Schemas of single fields, of every kind that may have to do with numbers. */
const PROPERTIES = {
  integer: Type.Integer(),
  positive: Type.Integer({ exclusiveMinimum: 0 }),
  within: Type.Integer({ minimum: 0, maximum: 3 }),
  tens: Type.Integer({ multipleOf: 5, maximum: 10 }),
  number: Type.Number({ description: 'any' }),
  below: Type.Number({ exclusiveMaximum: 1.5, exclusiveMinimum: -5 }),
  halves: Type.Number({ multipleOf: 0.5 }),
  text: Type.String(),
  flag: Type.Boolean(),
  list: Type.Array(Type.Integer()),
  nothing: Type.Null(),
  three: Type.Literal(3),
  choice: Type.Union([Type.Literal(1), Type.Literal(2), Type.Literal(10)]),
  textOrNumber: Type.Union([Type.String(), Type.Number({ minimum: 1 })]),
  textOrNothing: Type.Union([Type.String(), Type.Null()], { minimum: 100 }),
  both: Type.Intersect([Type.Number({ minimum: 0 }), Type.Number({ maximum: 10 })]),
  notThree: Type.Not(Type.Literal(3)),
  anything: Type.Any(),
  never: Type.Never(),
  reference: Type.Module({ Count: Type.Integer({ maximum: 2 }) }).Import('Count'),
  transformed: Type.Transform(Type.Integer()).Decode(String).Encode(Number),
  even: Type.Unsafe({ [Kind]: 'Even' }),
  optional: Type.Optional(Type.Readonly(Type.Integer({ maximum: 1 })))
}

test('incr stores what set would store, and nothing else, whatever the schema', async (t) => {
  const schema = Type.Object(PROPERTIES, { additionalProperties: false })
  const fields = new FieldSchema(schema)
  const names = [...Object.keys(PROPERTIES), 'unknown']
  for (const [place, redis] of [['memory', new MemoryStore()], ['Redis', (await sharedRedis()).url]] as const) {
    await t.test(place, async (t) => {
      let start: unknown
      let by = 1
      // Another version of the application, which has no schema, works on the same session.
      const free = await makeApp(t, { redis }, (app) => {
        app.get('/start', async ({ session }: any) => { for (const name of names) session.set(name, start) })
        app.get('/texts', async ({ session }: any) => Object.fromEntries(names.map((name) => [name, session.get(name) ?? null])))
      })
      const strict = await makeApp(t, { redis, schema }, (app) => {
        app.get('/incr', async ({ session }: any) => await Promise.all(names.map(async (name) => {
          const before = session.get(name)
          const outcome = await session.live[name].incr(by).then((sum: number) => ({ sum }), ({ code }: { code: string }) => ({ code }))
          return [name, { ...outcome, reads: session.get(name) ?? null, live: await session.live[name].get() ?? null, before: before ?? null }]
        })))
      })
      const { cookie } = await free.sessions.issue({ n: 1 })
      const get = async (app: typeof free, url: string): Promise<any> => (await app.inject({ url, headers: { cookie } })).json()
      for (start of [undefined, 0, 1, 3, 1.5, 9, -5, 'text', null, [1]]) {
        for (by of [1, -1, 0.5, 2, 5]) {
          await free.inject({ url: '/start', headers: { cookie } })
          const outcomes = await get(strict, '/incr')
          const stored = await get(free, '/texts')
          for (const [name, { sum, code, reads, live, before }] of outcomes) {
            const what = `${name}: ${JSON.stringify(start)} + ${by}`
            const expected = typeof start === 'number' ? start + by : start === undefined ? by : undefined
            // No decimal is ever added to an integer, whatever somebody else made of the field.
            const never = (PROPERTIES as Record<string, TSchema>)[name]?.[Kind] === 'Integer' && !Number.isInteger(by)
            if (expected !== undefined && fields.fits(name, expected) && !never) {
              t.strictSame([sum, reads, live, stored[name]], [expected, expected, expected, expected], what)
            } else {
              t.match(code, /^SESSION_(?:SCHEMA_MISMATCH|NUMBER_RANGE|NOT_A_NUMBER)$/, what)
              t.strictSame([stored[name], reads, live], [start ?? null, before, before], `${what}: nothing has changed`)
            }
          }
        }
      }
    })
  }
})

test('incr says why it refuses', async (t) => {
  const schema = Type.Object(PROPERTIES, { additionalProperties: false })
  await onEveryStore(t, async (t, { redis }) => {
    const { visit, browser } = await scripted(t, redis, { schema })
    const code = async (name: string, by: number): Promise<string> => (await visit((session) => session.live[name].incr(by))).code
    for (const name of ['unknown', 'text', 'flag', 'list', 'nothing', 'textOrNothing', 'never', 'three', 'even']) t.equal(await code(name, 1), 'SESSION_SCHEMA_MISMATCH', name)
    t.equal(await code('integer', 0.5), 'SESSION_SCHEMA_MISMATCH')
    t.equal(browser.jar.size, 0, 'no session came of it')
    t.equal(await code('positive', -5), 'SESSION_NUMBER_RANGE')
    t.equal(await code('positive', 0), 'SESSION_NUMBER_RANGE', 'an exclusive bound is out of range itself')
    t.equal(await code('below', 1.5), 'SESSION_NUMBER_RANGE')
    t.equal(await code('tens', 15), 'SESSION_NUMBER_RANGE', 'of a multiple, too')
    t.equal(await code('tens', 4), 'SESSION_SCHEMA_MISMATCH')
    t.strictSame(await visit(async ({ live }) => [await live.positive.incr(1), await live.below.incr(1.25), await live.tens.incr(10), await live.even.incr(2)]), [1, 1.25, 10, 2])
  })
})

test('an incr or update is refused for what the store holds, not for what this request saw before', async (t) => {
  const schema = Type.Object({ choice: Type.Union([Type.Literal(1), Type.Literal(2), Type.Literal(10)]), fives: Type.Integer({ multipleOf: 5, maximum: 10 }), whole: Type.Integer(), seats: Type.Integer() })
  for (const [place, redis] of [['memory', new MemoryStore()], ['Redis', (await sharedRedis()).url]] as const) {
    await t.test(place, async (t) => {
      let gate = new Gate()
      const sell = (seats: number): number => {
        if (seats === 0) throw new Error('sold out')
        return seats - 1
      }
      const strict = await makeApp(t, { redis, schema }, (app) => {
        app.get('/late', async ({ session: { live } }: any) => {
          await gate.pass()
          return await Promise.allSettled([live.choice.incr(), live.fives.incr(5), live.whole.incr(), live.seats.update(sell)]).then((all: any) => all.map(({ value, reason }: any) => value ?? reason.code ?? reason.message))
        })
      })
      const free = await makeApp(t, { redis }, (app) => {
        app.get('/set', async ({ session, query }: any) => { for (const [name, text] of Object.entries(query)) session.set(name, JSON.parse(text as string)) })
      })
      const { cookie } = await free.sessions.issue({ choice: 'text', fives: 10, whole: 1.5, seats: 0 })
      const get = async (app: typeof free, url: string): Promise<any> => (await app.inject({ url, headers: { cookie } })).body
      /** What the operations of a request say that saw the session before, and asks after, another one changed it. */
      const late = async (change?: string): Promise<string> => {
        gate = new Gate()
        const answer = get(strict, '/late')
        await gate.arrived(1)
        if (change !== undefined) await get(free, change)
        gate.open()
        return await answer
      }
      t.equal(await late(), '["SESSION_NOT_A_NUMBER","SESSION_NUMBER_RANGE","SESSION_SCHEMA_MISMATCH","sold out"]', 'nobody was faster')
      t.equal(await late('/set?choice=1&fives=0&whole=4&seats=7'), '[2,5,5,6]', 'it fits by now')
      t.equal(await late('/set?choice=2&fives="x"&whole=1.5&seats=0'), '["SESSION_SCHEMA_MISMATCH","SESSION_NOT_A_NUMBER","SESSION_SCHEMA_MISMATCH","sold out"]', 'it does not fit any more')
    })
  }
})

test('parallel increments are exact under a schema, also where all of it has to be checked', async (t) => {
  const schema = Type.Object({ bounded: Type.Integer({ minimum: 0, exclusiveMaximum: 51 }), fives: Type.Integer({ multipleOf: 5 }) })
  await onEveryStore(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis, schema }, (app) => {
      app.get('/start', async ({ session }: any) => { session.bounded = 0 })
      app.get('/bounded', async ({ session }: any) => await session.live.bounded.incr().catch(({ code }: { code: string }) => code))
      app.get('/fives', async ({ session }: any) => await session.live.fives.incr(5))
      app.get('/', async ({ session }: any) => session.data())
    })
    const browser = new Browser(app)
    await browser.get('/start')
    const answers = await Promise.all(Array.from({ length: 52 }, async () => (await browser.get('/bounded')).body))
    t.strictSame(answers.filter((answer) => answer === 'SESSION_NUMBER_RANGE').length, 2)
    t.strictSame(answers.map(Number).filter((n) => n > 0).sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i + 1))
    await Promise.all(Array.from({ length: 8 }, () => browser.get('/fives')))
    t.strictSame(await browser.json('/'), { bounded: 50, fives: 40 })
  })
})

test('an unsaved change goes before an incr that is checked in full, and is no guess', async (t) => {
  const schema = Type.Object({ fives: Type.Integer({ multipleOf: 5, maximum: 20 }) })
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis, { schema })
    await visit((session) => { session.fives = 5 })
    t.strictSame(await visit(async (session) => { session.fives = 10; return [await session.live.fives.incr(5), session.fives] }), [15, 15])
    t.match(await visit((session) => { session.fives = 20; return session.live.fives.incr(5) }), { status: 500, code: 'SESSION_NUMBER_RANGE' })
    t.equal(await visit((session) => session.fives), 15, 'what the handler that failed changed is dropped')
    t.equal(await visit((session) => { session.clear(); return session.live.fives.incr(5) }), 5)
    t.equal(await visit((session) => { delete session.fives; return session.live.fives.incr(10) }), 10)
  })
})

test('update gives up after bounded attempts against a faster writer', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit } = await scripted(t, redis)
    let calls = 0
    t.match(await visit(async (session) => {
      await session.live.n.set(0)
      const { live } = session
      // Each attempt is overtaken: the write that fn starts reaches the store before the replace that follows it.
      return await live.n.update((n: number) => { calls++; live.n.incr(); return n + 100 })
    }), { status: 409, code: 'SESSION_UPDATE_CONFLICT' })
    t.equal(calls, 10)
    t.equal(await visit((session) => session.n), 10, 'only the faster writer\'s changes are there')
    await visit((session) => session.live.n.update(() => undefined))
    t.equal(await visit((session) => session.live.n.none), true, 'undefined removes')
  })
})

test('several live operations of one turn share one round trip, and each is one command at most', async (t) => {
  const redis = await sharedRedis()
  const { visit } = await scripted(t, redis.url)
  const monitor = await redis.client().monitor()
  const seen: string[] = []
  monitor.on('monitor', (_time: string, args: string[], source: string) => { if (source !== 'lua' && !/^(?:info|ping|client|hello)$/i.test(args[0]!)) seen.push(args[0]!.toLowerCase()) })
  t.teardown(() => monitor.disconnect())
  const commands = async (step: Step): Promise<number> => {
    await redis.client().ping()
    seen.length = 0
    await visit(step)
    await redis.client().set('marker', '1')
    for (let i = 0; !seen.includes('set') && i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 5))
    return seen.filter((name) => name.startsWith('eval')).length
  }
  await visit((session) => { session.a = 1 })
  await visit(async (session) => { await session.live.a.int; await session.live.a.incr(); session.b = 1; await session.save() }) // teaches the scripts
  t.equal(await commands(() => undefined), 1, 'a request that looks at nothing: the load')
  t.equal(await commands((session) => session.a), 1, 'a read')
  t.equal(await commands((session) => { session.a = Math.random() }), 2, 'a write')
  t.equal(await commands((session) => Promise.all([session.live.a.int, session.live.b.str, session.live.c.none])), 2, 'three live reads')
  t.equal(await commands((session) => Promise.all([session.live.x.incr(), session.live.y.set(1), session.live.z.take()])), 2, 'three live writes')
  t.equal(await commands((session) => session.live.x.update((x: number) => x + 1)), 2, 'an update that nobody disturbs')
})

test('live operations on a session without a record', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const { visit, browser } = await scripted(t, redis)
    t.strictSame(await visit(async ({ live }) => [await live.a.none, await live.a.delete(), await live.a.take() ?? null, await live.a.update(() => undefined) ?? null]), [true, false, null, null])
    t.equal(browser.jar.size, 0, 'nothing was stored, so no cookie came')
    await visit(({ live }) => Promise.all([live.a.incr(), live.b.setIfAbsent('b'), live.a.incr()]))
    t.strictSame(await visit((session) => session.data()), { a: 2, b: 'b' }, 'several at once create one record')
  })
})

test('a live write while the response\'s own save is under way comes after it', async (t) => {
  const redis = await sharedRedis()
  const { browser, visit } = await scripted(t, `${redis.url}/1`)
  let live: Promise<unknown> | undefined
  for (const round of [1, 2]) {
    await visit((session) => {
      session.property = round
      // By then the save is on its way, and its answer cannot be here yet.
      live = new Promise((resolve) => { setImmediate(() => { resolve(session.live.count.incr()) }) })
    })
    t.equal(await live, round)
    t.strictSame(await visit((session) => session.data()), { property: round, count: round })
  }
  t.strictSame(await redis.client({ db: 1 }).keys('*'), [`session:${browser.token!.slice(0, 22)}`], 'one record, created once')
})
