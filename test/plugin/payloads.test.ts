/** What a handler answers with while its session is being saved: nobody but the plugin looks after it until Fastify sends it. */
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, pipeline, Readable } from 'node:stream'
import { test, type Test } from 'tap'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import sessionPlugin, { errors, MemoryStore } from '../../src/index.js'
import { makeApp, SECRET, sharedRedis, type AppOptions } from '../support/app.js'
import { setCookies } from '../support/browser.js'
import { startProxy } from '../support/tcp-proxy.js'
import { until } from '../support/until.js'

/** A store whose answers a test can hold back. */
interface Slow {
  redis: AppOptions['redis']
  /** From now on writes are carried out, and nobody hears of it. */
  hold (): void
  /** They hear of it now. */
  go (): void
  /** From now on nothing can be written. */
  fail (): Promise<void> | void
}

class SlowMemory extends MemoryStore implements Slow {
  readonly redis = this as never
  #held: Promise<void> | undefined
  #go = (): void => {}
  #failing = false

  hold (): void { this.#held = new Promise((resolve) => { this.#go = resolve }) }
  go (): void { this.#go() }
  fail (): void { this.#failing = true }

  override async create (...args: Parameters<MemoryStore['create']>): ReturnType<MemoryStore['create']> {
    const answer = await super.create(...args)
    await this.#held
    if (this.#failing) throw new errors.StoreUnavailableError('a test')
    return answer
  }
}

async function everywhere (t: Test, run: (t: Test, slow: Slow) => Promise<void>): Promise<void> {
  await t.test('in memory', async (t) => { await run(t, new SlowMemory()) })
  await t.test('in Redis', async (t) => {
    const proxy = await startProxy((await sharedRedis()).port)
    t.teardown(() => proxy.close())
    await run(t, { redis: proxy.url, hold: () => { proxy.pause('replies') }, go: () => { proxy.resume() }, fail: () => proxy.close() })
  })
}

/** What would have ended the process. */
function uncaught (t: Test): unknown[] {
  const seen: unknown[] = []
  const note = (error: unknown): void => { seen.push(error) }
  process.on('uncaughtExceptionMonitor', note)
  t.teardown(() => { process.off('uncaughtExceptionMonitor', note) })
  return seen
}

/** How many connections of clients an app has. */
async function connections (app: FastifyInstance): Promise<number> {
  return await new Promise((resolve, reject) => { app.server.getConnections((error, count) => { if (error) reject(error); else resolve(count) }) })
}

/** What there is to send, and whether whoever made it was told that nobody wants it any more. */
interface Source { payload: unknown, closed: () => boolean }

function watched (stream: Readable, payload: unknown = stream): Source {
  return { payload, closed: () => stream.destroyed }
}

/** A web stream of which nothing comes. */
function silent (): { stream: ReadableStream, closed: () => boolean, break: () => void } {
  let closed = false
  let controller: ReadableStreamDefaultController | undefined
  const stream = new ReadableStream({ start (one) { controller = one }, cancel () { closed = true } })
  return { stream, closed: () => closed, break: () => { closed = true; controller!.error(new Error('the upstream broke')) } }
}

const gone = (): Error => new Error('the upstream broke')

/** Sources that fail while nobody reads them; each calls `failed` when it has done so. */
const FAILING: Record<string, (failed: () => void) => Source> = {
  'a file that is not there': (failed) => watched(createReadStream('/nonexistent/file').once('close', failed)),
  'a stream that is destroyed with an error': (failed) => {
    const stream = new Readable({ read () {} }).once('close', failed)
    setImmediate(() => { stream.destroy(gone()) })
    return watched(stream)
  },
  'a stream that is destroyed without one': (failed) => {
    const stream = new Readable({ read () {} }).once('close', failed)
    setImmediate(() => { stream.destroy() })
    return watched(stream)
  },
  'what a pipeline fills': (failed) => {
    const through = new PassThrough().once('close', failed)
    pipeline(createReadStream('/nonexistent/file'), through, () => {})
    return watched(through)
  },
  'a web stream': (failed) => {
    const { stream, closed, break: fail } = silent()
    setImmediate(() => { fail(); setImmediate(failed) })
    return { payload: stream, closed }
  },
  'the body of a web Response': (failed) => {
    const { stream, closed, break: fail } = silent()
    setImmediate(() => { fail(); setImmediate(failed) })
    return { payload: new Response(stream), closed }
  }
}

for (const [what, make] of Object.entries(FAILING)) {
  test(`fails while the session is being saved: ${what}`, async (t) => {
    await everywhere(t, async (t, slow) => {
      const seen = uncaught(t)
      let source: Source | undefined
      const app = await makeApp(t, { redis: slow.redis }, (app) => {
        app.get('/', async ({ session }: any) => {
          session.downloads = 1
          slow.hold()
          source = make(() => { slow.go() })
          return source.payload
        })
        app.get('/look', async ({ session }: any) => session.data())
      })
      const url = await app.listen({ port: 0, host: '127.0.0.1' })
      const response = await fetch(url)
      t.equal(response.status, 500, await response.text())
      t.ok(source!.closed())
      t.strictSame(seen, [])
      const [line = ''] = response.headers.getSetCookie()
      t.strictSame(await (await fetch(`${url}/look`, { headers: { cookie: line.split(';')[0]! } })).json(), { downloads: 1 }, 'what was saved before is there, and the browser has its cookie')
    })
  })
}

/** Sources that would go on for ever. */
const OPEN: Record<string, () => Source> = {
  'a file': () => {
    const directory = mkdtempSync(join(tmpdir(), 'payload-'))
    writeFileSync(join(directory, 'file'), 'x'.repeat(1_000_000))
    return watched(createReadStream(join(directory, 'file')).once('close', () => { rmSync(directory, { recursive: true }) }))
  },
  'a stream': () => watched(new Readable({ read () {} })),
  'a web stream': () => {
    const { stream, closed } = silent()
    return { payload: stream, closed }
  },
  'a web Response': () => {
    const { stream, closed } = silent()
    return { payload: new Response(stream), closed }
  },
  'a web Response that caches may keep': () => {
    const { stream, closed } = silent()
    return { payload: new Response(stream, { headers: { 'cache-control': 'public' } }), closed }
  }
}

for (const [what, make] of Object.entries(OPEN)) {
  test(`closed where the session cannot be saved, or nobody waits any more: ${what}`, async (t) => {
    await everywhere(t, async (t, slow) => {
      const seen = uncaught(t)
      let source: Source | undefined
      const app = await makeApp(t, { redis: slow.redis, maxFields: 2 }, (app) => {
        const answer = (): unknown => { source = make(); return source.payload }
        app.get('/full', async ({ session }: any) => { Object.assign(session, { a: 1, b: 1, c: 1 }); return answer() })
        app.get('/gone', async ({ session }: any) => {
          session.a = 1
          await session.save()
          await app.sessions.end(session.id)
          session.a = 2
          return answer()
        })
        app.get('/held', async ({ session }: any) => { session.a = 1; slow.hold(); return answer() })
        app.get('/away', async ({ session }: any) => { session.a = 1; await slow.fail(); return answer() })
      })
      const url = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
      for (const [path, status] of [['/full', 500], ['/gone', 409]] as const) {
        const response = await fetch(new URL(path, url), { headers: { connection: 'close' } })
        t.equal(response.status, status, `${path}: ${await response.text()}`)
        await until(`${path} is closed`, 2000, () => source!.closed())
      }

      source = undefined
      const socket = connect(Number(url.port), '127.0.0.1')
      socket.write('GET /held HTTP/1.1\r\nhost: x\r\n\r\n')
      await until('the handler answered', 5000, () => source)
      socket.resetAndDestroy()
      await until('the server noticed', 5000, async () => await connections(app) === 0)
      slow.go()
      await until('what it asked for is closed', 5000, () => source!.closed())

      const response = await fetch(new URL('/away', url))
      t.equal(response.status, 503, await response.text())
      await until('it is closed', 2000, () => source!.closed())
      t.strictSame(seen, [])
    })
  })
}

test('two instances save one after the other: the stream is looked after all the time', async (t) => {
  const seen = uncaught(t)
  const stores = [new SlowMemory(), new SlowMemory()] as const
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionPlugin, { secret: SECRET, redis: stores[0].redis, cookie: { secure: false } })
  await app.register(sessionPlugin, { secret: SECRET, redis: stores[1].redis, decoratorName: 'staff', prefix: 'staff:', cookie: { secure: false, name: 'staff-id' } })
  app.get('/:at', async (request: any) => {
    request.session.a = 1
    request.staff.a = 1
    const slow = stores[Number(request.params.at) as 0 | 1]
    slow.hold()
    return createReadStream('/nonexistent/file').once('close', () => { slow.go() })
  })
  for (const at of [0, 1]) {
    const response = await app.inject(`/${at}`)
    t.equal(response.statusCode, 500)
    t.match(response.json(), { code: 'ENOENT' })
  }
  t.strictSame(seen, [])
})

/** What Fastify refuses only when it is about to send it. */
const UNSENDABLE: Record<string, (reply: FastifyReply) => unknown> = {
  'a header that HTTP cannot carry': (reply) => { reply.header('content-disposition', 'attachment; filename="ž.pdf"'); return 'text' },
  'such a header beside a stream': (reply) => { reply.header('x-name', 'ž'); return Readable.from(['text']) },
  'a number that is no text': (reply) => { reply.type('text/plain'); return 5 },
  'a web stream that somebody else reads': () => {
    const stream = new ReadableStream()
    stream.getReader()
    return stream
  },
  'a web Response that was read': async () => {
    const response = new Response('text')
    await response.text()
    return response
  }
}

test('what cannot be sent is an error like any other, also after the session was saved', async (t) => {
  await everywhere(t, async (t, { redis }) => {
    const seen = uncaught(t)
    const routes = (app: FastifyInstance): void => {
      for (const [i, answer] of Object.values(UNSENDABLE).entries()) {
        app.get(`/untouched/${i}`, async (_, reply) => await answer(reply))
        app.get(`/saved/${i}`, async ({ session }: any, reply) => { session.a = 1; return await answer(reply) })
        app.get(`/callback/${i}`, ({ session }: any, reply) => { session.a = 1; Promise.resolve(answer(reply)).then((payload) => reply.send(payload), () => {}) })
      }
    }
    const app = await makeApp(t, { redis }, routes)
    for (const [i, what] of Object.keys(UNSENDABLE).entries()) {
      const expected = await app.inject(`/untouched/${i}`)
      t.equal(expected.statusCode, 500, what)
      for (const way of ['saved', 'callback']) {
        const response = await app.inject(`/${way}/${i}`)
        t.strictSame([response.statusCode, response.json().code], [500, expected.json().code], `${what}, ${way}`)
        t.strictSame(setCookies(response), [], 'what failed has no effect')
      }
    }
    t.strictSame(seen, [])
  })
})

test('a response that cannot be sent, cookie and all, leaves the session as it was', async (t) => {
  await everywhere(t, async (t, { redis }) => {
    const app = await makeApp(t, { redis }, (app) => {
      app.get('/begin', async ({ session }: any) => { session.a = 1 })
      app.get('/look', async ({ session }: any) => ({ ...session }))
      for (const [i, answer] of Object.values(UNSENDABLE).entries()) {
        app.get(`/rotate/${i}`, async ({ session }: any, reply) => { await session.rotate(); return await answer(reply) })
        app.get(`/saved/${i}`, async ({ session }: any, reply) => { await session.rotate(); await session.save(); return await answer(reply) })
        app.get(`/login/${i}`, async ({ session }: any, reply) => { await session.regenerate(); session.user = 'ann'; return await answer(reply) })
        app.get(`/logout/${i}`, async ({ session }: any, reply) => { await session.destroy(); return await answer(reply) })
      }
    })
    for (const [i, what] of Object.keys(UNSENDABLE).entries()) {
      const [begun] = setCookies(await app.inject('/begin'))
      const cookie = `${begun!.name}=${begun!.value}`
      for (const way of ['rotate', 'saved', 'login']) {
        const response = await app.inject({ url: `/${way}/${i}`, headers: { cookie } })
        t.strictSame([response.statusCode, setCookies(response)], [500, []], `${what}, ${way}`)
        t.strictSame((await app.inject({ url: '/look', headers: { cookie } })).json(), { a: 1 }, 'the cookie that the browser has works as before')
      }
      t.equal((await app.inject({ url: `/logout/${i}`, headers: { cookie } })).statusCode, 500)
      t.strictSame((await app.inject({ url: '/look', headers: { cookie } })).json(), {}, 'who logged out is out')
    }
  })
})

test('an error page that cannot be sent does not end the process either', async (t) => {
  await everywhere(t, async (t, slow) => {
    const seen = uncaught(t)
    const app = await makeApp(t, { redis: slow.redis }, (app) => {
      app.setErrorHandler((error: any, _request, reply) => { reply.code(error.statusCode ?? 500).header('x-reason', 'ž').send('sorry') })
      app.get('/', async ({ session }: any) => { session.a = 1; throw Object.assign(new Error('bad form'), { statusCode: 400 }) })
      app.get('/away', async ({ session }: any) => { session.a = 1; await slow.fail(); return 'text' })
    })
    t.equal((await app.inject('/')).statusCode >= 400, true)
    t.equal((await app.inject('/away')).statusCode >= 500, true)
    t.strictSame(seen, [])
  })
})
