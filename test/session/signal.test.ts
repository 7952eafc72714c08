/** Open connections notice when their session ends. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { WebSocket } from 'ws'
import sessionPlugin from '../../src/index.js'
import { makeApp, onEveryStore, SECRET, sharedRedis, type AppOptions } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis } from '../support/redis-process.js'
import { startProxy } from '../support/tcp-proxy.js'
import { until } from '../support/until.js'

/** What a test waits for at most, milliseconds, where the promise is a second: machines that run tests may be slow. */
const LIMIT = 5000

function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => ({ id: session.id, isNew: session.isNew }))
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
  app.get('/login', async ({ session, query }: any) => { await session.regenerate(); session.user = query.user; return {} })
  app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
  app.get('/rotate', async ({ session }: any) => { await session.rotate(); return {} })
  app.get('/touch', async ({ session }: any) => { session.touch(); return {} })
  // A long poll: answers when the session ends.
  app.get('/wait', { config: { session: { touch: false } } }, async ({ session }: any) => {
    const { signal } = session
    waiting++
    if (!signal.aborted) await once(signal, 'abort')
    waiting--
    return { code: signal.reason.code, reason: signal.reason.reason, same: signal === session.signal }
  })
}

let waiting = 0

async function open (t: Test, redis: AppOptions['redis'], more: Partial<AppOptions> = {}): Promise<FastifyInstance> {
  return await makeApp(t, { redis, userField: 'user', ...more } as AppOptions, routes)
}

/** Has a browser wait, and goes on when its request is in the handler. */
async function wait (browser: Browser): Promise<{ answer: Promise<any> }> {
  const before = waiting
  const answer = browser.clone().json('/wait')
  await until('the handler waits', LIMIT, () => waiting > before)
  return { answer }
}

/** Settles with the answer, or fails in the end. */
async function soon (answer: Promise<any>): Promise<any> {
  const over = new AbortController()
  const late = sleep(LIMIT, undefined, { signal: over.signal }).then(() => { throw new Error('nobody noticed') }, () => {})
  try {
    return await Promise.race([answer, late])
  } finally {
    over.abort()
  }
}

test('whatever ends a session, in the same process', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await open(t, redis, { idleTimeout: 60 })
    const ends: Array<[reason: string, end: (browser: Browser, id: string) => Promise<unknown>]> = [
      ['destroyed', async (browser) => await browser.get('/logout')],
      ['destroyed', async (browser) => await browser.get('/login?user=barbara')],
      ['ended', async (_, id) => await app.sessions.end(id)],
      ['ended', async () => await app.sessions.endAll('andrew')]
    ]
    for (const [reason, end] of ends) {
      const [browser, other] = [new Browser(app), new Browser(app)]
      await browser.json('/login?user=andrew')
      await other.get('/login?user=barbara')
      const { id } = await browser.json('/')
      const [one, two] = [await wait(browser), await wait(browser)]
      const bystander = await wait(other)
      await browser.get('/rotate')
      await end(browser, id)
      t.strictSame(await soon(one.answer), { code: 'SESSION_ENDED', reason, same: true })
      t.strictSame(await soon(two.answer), { code: 'SESSION_ENDED', reason, same: true })
      t.equal(await Promise.race([bystander.answer, sleep(20, 'waits')]), 'waits')
      await app.sessions.endAll('barbara')
      await soon(bystander.answer)
    }
  })
})

test('expiry: at its time, and not before others let it happen', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await open(t, redis, { idleTimeout: 2, touchInterval: 0, lifetime: 60 })
    const browser = new Browser(app)
    await browser.get('/set?a=1')
    const { answer } = await wait(browser)
    const start = performance.now()
    for (let i = 0; i < 4; i++) {
      await sleep(700)
      t.match(await browser.json('/touch'), {}, 'others keep it alive')
    }
    t.match(await soon(answer), { reason: 'expired' })
    t.ok(performance.now() - start > 4000, `${performance.now() - start} ms`)
  })
})

test('a renewed secret that is used again ends the session for open connections, too', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const app = await open(t, redis, { rotateEvery: 0.2, rotateGrace: 0.01 })
    const browser = new Browser(app)
    await browser.get('/set?a=1')
    const { answer } = await wait(browser)
    const old = browser.clone()
    await sleep(220)
    await browser.get('/')
    await browser.get('/')
    await sleep(30)
    await old.get('/')
    t.match(await soon(answer), { reason: 'reused' })
  })
})

test('another process ended it, on a single Redis; one connection per process, opened by the first use, closed with the app', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const witness = redis.client()
  const connections = async (): Promise<number> => (String(await witness.client('LIST')).match(/ sub=1 /g) ?? []).length
  const [app, other] = [await open(t, redis.url), await open(t, redis.url)]
  const browser = new Browser(app)
  await browser.json('/login?user=andrew')
  await browser.get('/')
  t.equal(await connections(), 0, 'who asks for no signal pays nothing')
  const polls = [await wait(browser), await wait(browser)]
  await until('one subscribes', LIMIT, async () => await connections() === 1)
  const begin = performance.now()
  await other.sessions.endAll('andrew')
  for (const { answer } of polls) t.match(await soon(answer), { reason: 'ended' })
  t.comment(`told after ${Math.round(performance.now() - begin)} ms`)
  await browser.json('/login?user=andrew')
  const third = await wait(browser)
  t.equal(await connections(), 1)
  await browser.clone(other).get('/logout')
  t.match(await soon(third.answer), { reason: 'destroyed' })
  await app.close()
  await until('nobody subscribes', LIMIT, async () => await connections() === 0)
})

test('what ends while the subscription is broken is noticed when it is back', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const [app, other] = [await open(t, proxy.url), await open(t, redis.url)]
  for (const way of ['cut', 'frozen'] as const) {
    const [browser, survivor] = [new Browser(app), new Browser(app)]
    await browser.json('/login?user=andrew')
    await survivor.get('/login?user=barbara')
    const [ended, alive] = [await wait(browser), await wait(survivor)]
    proxy.pause()
    if (way === 'cut') proxy.cut()
    t.equal(await other.sessions.endAll('andrew'), 1)
    t.equal(await Promise.race([ended.answer, sleep(100, 'waits')]), 'waits')
    if (way === 'frozen') await until('the connection is given up', 3 * LIMIT, () => proxy.seen.sockets > 3 || proxy.open < 2)
    proxy.resume()
    if (way === 'frozen') proxy.cut()
    t.match(await soon(ended.answer), { reason: 'ended' }, way)
    t.equal(await Promise.race([alive.answer, sleep(20, 'waits')]), 'waits')
    await other.sessions.endAll('barbara')
    t.match(await soon(alive.answer), { reason: 'ended' }, `${way}: and the connection works again`)
  }
})

test('a Redis that restarts without its data', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const app = await open(t, redis.url)
  const browser = new Browser(app)
  await browser.json('/login?user=andrew')
  const { answer } = await wait(browser)
  await redis.restart()
  t.match(await soon(answer), { reason: 'ended' })
})

test('on a Cluster, whatever node a session is on, and when the node of the subscription dies', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  const [app, other] = [await open(t, cluster.url, { timeout: 3000 }), await open(t, cluster.url, { timeout: 3000 })]
  const browsers = await Promise.all(Array.from({ length: 8 }, async () => {
    const browser = new Browser(app)
    await browser.json('/login?user=andrew')
    return browser
  }))
  const polls = []
  for (const browser of browsers) polls.push(await wait(browser))
  t.equal(await other.sessions.endAll('andrew'), 8)
  for (const { answer } of polls) t.match(await soon(answer), { reason: 'ended' })

  const last = new Browser(app)
  await last.json('/login?user=andrew')
  const poll = await wait(last)
  const subscribed = async (): Promise<typeof cluster.nodes> => {
    const found = await Promise.all(cluster.nodes.map(async (node) => node.state === 'running' && String(await node.ask('CLIENT', 'LIST')).includes(' sub=1 ')))
    return cluster.nodes.filter((_, i) => found[i])
  }
  await until('one node is listened to', LIMIT, async () => (await subscribed()).length === 1)
  const [node] = await subscribed()
  await node!.ask('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until('a node is listened to again', LIMIT, async () => (await subscribed()).length === 1)
  t.equal(await other.sessions.endAll('andrew'), 1)
  t.match(await soon(poll.answer), { reason: 'ended' })
})

test('a session without a record, one that ended, and one that comes into being', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const seen: Record<string, AbortSignal> = {}
    const app = await makeApp(t, { redis, userField: 'user' }, (app) => {
      routes(app)
      app.get('/anonymous', async ({ session }: any) => ({ aborted: session.signal.aborted }))
      app.get('/becomes', async ({ session }: any) => {
        const { signal } = session
        session.user = 'andrew'
        await session.save()
        await app.sessions.end(session.id)
        if (!signal.aborted) await once(signal, 'abort')
        return { reason: signal.reason.reason }
      })
      app.get('/gone', async ({ session }: any) => {
        await app.sessions.end(session.id)
        await session.live.a.set(1).catch(() => {})
        return { reason: session.signal.reason.reason }
      })
      app.get('/own', async ({ session }: any) => {
        seen['old'] = session.signal
        await session.destroy()
        return { old: seen['old']!.reason?.reason, next: session.signal.aborted }
      })
    })
    const browser = new Browser(app)
    t.strictSame(await browser.json('/anonymous'), { aborted: false })
    t.strictSame(await soon(browser.json('/becomes')), { reason: 'ended' })
    const other = new Browser(app)
    await other.get('/login?user=barbara')
    t.strictSame(await other.json('/gone'), { reason: 'ended' })
    await other.get('/login?user=barbara')
    t.strictSame(await other.json('/own'), { old: 'destroyed', next: false })
  })
})

test('a signal that was taken before the record was there is that of the session that is stored in its place', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const ways: Record<string, (session: any, request: any) => unknown> = {
      'saved as it is': () => {},
      regenerated: (session) => session.regenerate(),
      'regenerated twice': async (session) => { await session.regenerate(); await session.regenerate() },
      'set, and regenerated with it': async (session) => { session.user = 'eve'; await session.regenerate(['user']) },
      null: (_, request) => { request.session = null },
      rotated: (session) => session.rotate(),
      elevated: (session) => session.elevate(60)
    }
    const app = await makeApp(t, { redis, userField: 'user' }, (app) => {
      app.get('/:way/:how', async (request: any) => {
        const { session, params } = request
        const { signal } = session
        await ways[params.way]!(session, request)
        if (params.how === 'live') await session.live.user.set('andrew')
        else request.session.user = 'andrew'
        await request.session.save()
        const before = signal.aborted
        await app.sessions.end(request.session.id)
        if (!signal.aborted) await soon(once(signal, 'abort'))
        return [before, signal.reason.reason]
      })
    })
    for (const way of Object.keys(ways)) {
      for (const how of ['saved', 'live']) t.strictSame(await new Browser(app).json(`/${way}/${how}`), [false, 'ended'], `${way}, ${how}`)
    }
  })
})

test('a signal of a session that was to be replaced goes on where nothing came of that', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const signals: AbortSignal[] = []
    const app = await makeApp(t, { redis, userField: 'user' }, (app) => {
      routes(app)
      app.get('/fails/:status', async ({ session, params }: any) => {
        const { signal } = session
        await session.regenerate(['user'])
        session.user = 'eve'
        // What the program saved itself stands, but for a 503.
        if (params.status === '503') await session.save()
        signals.push(signal)
        throw Object.assign(new Error('no'), { statusCode: Number(params.status) })
      })
      app.get('/goes', async ({ session }: any) => {
        const { signal } = session
        await session.regenerate(['user'])
        await session.save()
        signals.push(signal, session.signal)
        return {}
      })
    })
    const browser = new Browser(app)
    await browser.json('/login?user=andrew')
    const { answer } = await wait(browser)
    for (const status of [500, 503]) {
      t.equal((await browser.get(`/fails/${status}`)).statusCode, status)
      t.equal(await Promise.race([answer, sleep(50, 'waits')]), 'waits', String(status))
      t.equal(signals.pop()!.aborted, false, String(status))
      t.match(await browser.json('/'), { isNew: false })
    }
    await browser.json('/goes')
    t.match(await soon(answer), { reason: 'destroyed' })
    t.strictSame(signals.map(({ aborted }) => aborted), [true, false], 'the old one, and not the new one')
  })
})

test('sharing a Redis with others: their messages change nothing', async (t) => {
  const redis = await sharedRedis()
  const app = await open(t, redis.url, { prefix: 'noise:' })
  const browser = new Browser(app)
  await browser.json('/login?user=andrew')
  const { id } = await browser.json('/')
  const { answer } = await wait(browser)
  const witness = redis.client()
  await until('the subscription is there', LIMIT, async () => Number((await witness.pubsub('NUMSUB', 'noise:@ended'))[1]) === 1)
  for (const message of ['', 'x', `${id}`, `${id} nonsense`, '{}', `${id}\nended`, 'A'.repeat(100_000)]) await witness.publish('noise:@ended', message)
  t.equal(await Promise.race([answer, sleep(50, 'waits')]), 'waits')
  await app.sessions.end(id)
  t.match(await soon(answer), { reason: 'ended' })
})

test('a WebSocket and an event stream close when another process ends the session', async (t) => {
  const { url } = await sharedRedis()
  const other = await open(t, url)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionPlugin, { secret: SECRET, redis: url, userField: 'user', cookie: { secure: false } })
  await app.register(websocket)
  routes(app)
  app.get('/ws', { websocket: true }, (socket, request) => {
    const { signal } = request.session
    signal.addEventListener('abort', () => { socket.close(4001, (signal.reason as { reason: string }).reason) })
  })
  app.get('/events', (request, reply) => {
    const { signal } = request.session
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    reply.raw.write('data: hello\n\n')
    signal.addEventListener('abort', () => { reply.raw.end(`event: ended\ndata: ${(signal.reason as { reason: string }).reason}\n\n`) })
  })
  const base = await app.listen({ host: '127.0.0.1', port: 0 })
  const browser = new Browser(app)
  await browser.json('/login?user=stream')
  const socket = new WebSocket(`${base.replace('http', 'ws')}/ws`, { headers: { cookie: browser.cookie } })
  t.teardown(() => { socket.terminate() })
  await once(socket, 'open')
  const closing = once(socket, 'close')
  const stream = await fetch(`${base}/events`, { headers: { cookie: browser.cookie } })
  t.equal(await other.sessions.endAll('stream'), 1)
  const [code, reason] = await soon(closing) as [number, Buffer]
  t.strictSame([code, String(reason)], [4001, 'ended'])
  t.equal(await soon(stream.text()), 'data: hello\n\nevent: ended\ndata: ended\n\n')
})

test('watching keeps no process alive', async (t) => {
  const { url } = await sharedRedis()
  const program = `
    import Fastify from 'fastify'
    import sessionPlugin from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
    import { Redis } from 'ioredis'
    const client = new Redis(${JSON.stringify(url)})
    const app = Fastify()
    await app.register(sessionPlugin, { secret: ${JSON.stringify(SECRET)}, redis: client, cookie: { secure: false } })
    app.get('/', async ({ session }) => { session.set('a', 1); await session.save(); return String(session.signal.aborted) })
    if ((await app.inject('/')).body !== 'false') throw new Error()
    await new Promise((resolve) => setTimeout(resolve, 300))
    client.disconnect()
    console.log('done')`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { cwd: new URL('../..', import.meta.url), stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => { output += chunk.toString() })
  const [code] = await Promise.race([once(child, 'exit'), sleep(20_000, ['still running'])]) as [unknown]
  t.strictSame([code, output.trim()], [0, 'done'])
})
