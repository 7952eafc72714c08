/** @fastify/websocket: the session in the upgrade request, and in the open socket. */
import { once } from 'node:events'
import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { WebSocket } from 'ws'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'

type Reply = Record<string, unknown>

/** An app whose socket does to the session what each message asks for, and answers how that went. */
async function appWithSocket (t: Test): Promise<{ app: FastifyInstance, connect: (cookie: string) => Promise<WebSocket> }> {
  const actions: Record<string, (session: any) => Promise<unknown>> = {
    data: async (session) => session.data(),
    read: async (session) => await session.live.clicks.int,
    incr: async (session) => await session.live.clicks.incr(),
    property: async (session) => { session.seen = (session.seen ?? 0) + 1; await session.save(); return session.seen },
    reload: async (session) => { await session.reload(); return session.data() },
    logout: async (session) => { await session.destroy() },
    rotate: async (session) => { await session.rotate() }
  }
  const app = await makeApp(t, { redis: (await sharedRedis()).url }, (app) => {
    app.register(websocket)
    app.register(async (app) => {
      app.get('/login', async ({ session }: any) => { session.user = 'andrew'; return {} })
      app.get('/logout', async ({ session }: any) => { await session.destroy(); return {} })
      app.get('/', async ({ session }: any) => session.data())
      const handler = (socket: WebSocket, { session }: any): void => {
        socket.on('message', async (message) => {
          const answer = await actions[String(message)]!(session).then((value) => ({ value: value ?? null }), ({ code }) => ({ code }))
          socket.send(JSON.stringify(answer))
        })
      }
      app.get('/socket', { websocket: true }, handler)
      app.get('/guarded', {
        websocket: true,
        preValidation: async ({ session }: any, reply) => session.user === undefined ? reply.code(401).send() : undefined
      }, handler)
    })
  })
  const address = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('http', 'ws')
  return {
    app,
    async connect (cookie, path = '/socket') {
      const socket = new WebSocket(address + path, { headers: { cookie } })
      t.teardown(() => { socket.terminate() })
      await once(socket, 'open')
      return socket
    }
  } as { app: FastifyInstance, connect: (cookie: string, path?: string) => Promise<WebSocket> }
}

async function ask (socket: WebSocket, message: string): Promise<Reply> {
  const answer = once(socket, 'message')
  socket.send(message)
  return JSON.parse(String((await answer)[0])) as Reply
}

test('the open socket reads and writes the session, together with requests and other sockets', async (t) => {
  const { app, connect } = await appWithSocket(t)
  const browser = new Browser(app)
  await browser.get('/login')
  const [one, two] = await Promise.all([connect(browser.cookie), connect(browser.cookie)])
  t.strictSame(await ask(one, 'data'), { value: { user: 'andrew' } })
  const clicks = await Promise.all([one, two].map(async (socket) => [await ask(socket, 'incr'), await ask(socket, 'incr')]))
  t.strictSame(clicks.flat().map(({ value }) => value).sort(), [1, 2, 3, 4])
  t.strictSame(await ask(one, 'read'), { value: 4 })
  t.strictSame([await ask(one, 'property'), await ask(one, 'property')], [{ value: 1 }, { value: 2 }], 'save() after each change')
  t.strictSame(await browser.json('/'), { user: 'andrew', clicks: 4, seen: 2 })
  t.strictSame(await ask(two, 'reload'), { value: { user: 'andrew', clicks: 4, seen: 2 } })
})

test('a socket learns that the session ended, and cannot bring it back', async (t) => {
  const { app, connect } = await appWithSocket(t)
  const browser = new Browser(app)
  await browser.get('/login')
  const socket = await connect(browser.cookie)
  await ask(socket, 'incr')
  await browser.clone().get('/logout')
  for (const message of ['incr', 'property', 'reload']) t.strictSame(await ask(socket, message), { code: 'SESSION_GONE' }, message)
  t.strictSame(await ask(socket, 'read'), { value: 0 })
  t.strictSame(await browser.json('/'), {})
})

test('a socket can end the session', async (t) => {
  const { app, connect } = await appWithSocket(t)
  const browser = new Browser(app)
  await browser.get('/login')
  t.strictSame(await ask(await connect(browser.cookie), 'logout'), { value: null })
  t.strictSame(await browser.json('/'), {})
})

test('what needs a cookie is refused: no headers can be sent any more', async (t) => {
  const { app, connect } = await appWithSocket(t)
  const browser = new Browser(app)
  await browser.get('/login')
  t.strictSame(await ask(await connect(browser.cookie), 'rotate'), { code: 'SESSION_HEADERS_SENT' })
  const anonymous = await connect('')
  t.strictSame(await ask(anonymous, 'read'), { value: 0 })
  for (const message of ['incr', 'property']) t.strictSame(await ask(anonymous, message), { code: 'SESSION_HEADERS_SENT' }, message)
})

test('a hook refuses the upgrade by what the session says', async (t) => {
  const { app, connect } = await appWithSocket(t) as { app: FastifyInstance, connect: (cookie: string, path: string) => Promise<WebSocket> }
  const browser = new Browser(app)
  await t.rejects(connect('', '/guarded'), { message: /401/ })
  await browser.get('/login')
  t.strictSame(await ask(await connect(browser.cookie, '/guarded'), 'data'), { value: { user: 'andrew' } })
})
