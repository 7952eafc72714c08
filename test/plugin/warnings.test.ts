/** What a program does by mistake, and is told in the log: once for each route, and without a value. */
import { connect as connectHttp2, constants } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import sessionPlugin, { MemoryStore } from '../../src/index.js'
import { makeApp, onEveryStore, SECRET, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { until } from '../support/until.js'

/** What was said of changes that regenerate() dropped. */
function dropped (lines: Lines): Array<Record<string, unknown>> {
  return lines.filter(({ level, msg }) => level === 40 && /^regenerate\(\) dropped/.test(msg)).map(({ route, fields, settings }) => ({ route, fields, settings }))
}

/** What a request may do before regenerate(), with what of it is lost. */
const BEFORE: Record<string, { act: (session: any) => unknown, keys?: string[], fields?: string[], settings?: string[] }> = {
  'an assignment': { act: (session) => { session.userId = 'a secret value' }, fields: ['userId'] },
  'a change in depth': { act: (session) => { session.cart.push(1) }, fields: ['cart'] },
  'a removal': { act: (session) => { delete session.cart }, fields: ['cart'] },
  remember: { act: (session) => { session.remember({ idleTimeout: 60, lifetime: 600 }) }, settings: ['idleTimeout', 'lifetime', 'persistent'] },
  'an idle timeout': { act: (session) => { session.idleTimeout = 99 }, settings: ['idleTimeout'] },
  elevate: { act: (session) => session.elevate(60), settings: ['elevate'] },
  'one of two fields': { act: (session) => { session.userId = 'a secret value'; session.locale = 'de' }, keys: ['locale'], fields: ['userId'] },
  'a field of a long name': { act: (session) => { session['x'.repeat(200)] = 1 }, fields: ['x'.repeat(40)] },
  'a value that cannot be stored': { act: (session) => { session.cart.push(session.cart) } }
}

/** What is lost by nobody's mistake. */
const FINE: Record<string, { act: (session: any) => unknown, keys?: string[] }> = {
  nothing: { act: () => {} },
  'what is carried over': { act: (session) => { session.userId = 'ann' }, keys: ['userId'] },
  'what was saved': { act: async (session) => { session.userId = 'ann'; await session.save() } },
  'what was written live': { act: (session) => session.live.userId.set('ann') },
  'what is read': { act: (session) => [session.cart, session.data()] },
  'a new secret': { act: (session) => session.rotate() },
  'what is as it was': { act: (session) => { session.cart = [0] } }
}

const begin = async ({ session }: any): Promise<object> => { session.cart = [0]; return {} }

test('regenerate() says what it dropped, by name, once for each route', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const lines: Lines = []
    const app = await makeApp(t, { redis, lines }, (app: FastifyInstance) => {
      app.get('/begin', begin)
      for (const [name, { act, keys }] of Object.entries(BEFORE)) app.get(`/${name.replaceAll(' ', '-')}`, async ({ session }: any) => { await act(session); await session.regenerate(keys); return {} })
    })
    for (const [name, { fields = [], settings = [] }] of Object.entries(BEFORE)) {
      const url = `/${name.replaceAll(' ', '-')}`
      const before = dropped(lines).length
      for (let i = 0; i < 3; i++) {
        const browser = new Browser(app)
        await browser.json('/begin')
        t.equal((await browser.get(url)).statusCode, 200, name)
      }
      const said = dropped(lines).slice(before)
      t.strictSame(said, fields.length + settings.length === 0 ? [] : [{ route: `GET ${url}`, fields, settings }], name)
    }
    t.notMatch(JSON.stringify(lines), 'a secret value')
  })
})

test('regenerate() says nothing where nothing is lost by mistake', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const lines: Lines = []
    const app = await makeApp(t, { redis, lines }, (app: FastifyInstance) => {
      app.get('/begin', begin)
      for (const [name, { act, keys }] of Object.entries(FINE)) app.get(`/${name.replaceAll(' ', '-')}`, async ({ session }: any) => { await act(session); await session.regenerate(keys); session.userId = 'ann'; return {} })
    })
    for (const name of Object.keys(FINE)) {
      const browser = new Browser(app)
      await browser.json('/begin')
      await browser.json(`/${name.replaceAll(' ', '-')}`)
    }
    t.strictSame(dropped(lines), [])
  })
})

test('nobody is warned of a change that is saved after all, because its browser went away before the handler was done', async (t) => {
  for (const http2 of [true, false]) {
    const lines: string[] = []
    const app = Fastify({ ...http2 && { http2 }, logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } } as object) as unknown as FastifyInstance
    t.teardown(() => app.close())
    await app.register(sessionPlugin, { secret: SECRET, redis: new MemoryStore(), cookie: { secure: false } })
    let begun = false
    app.get('/slow', async ({ session, raw }: any) => {
      session.slow = 1
      begun = true
      await until('the browser is gone', 5000, () => raw.destroyed || raw.socket?.destroyed)
      // Whatever is said of it is said by now.
      await new Promise((resolve) => { setTimeout(resolve, 20) })
      return 'too late'
    })
    app.get('/look', async ({ session }: any) => ({ ...session }))
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { cookie } = await app.sessions.issue({ user: 'ann' })
    const { port } = app.server.address() as AddressInfo
    if (http2) {
      const client = connectHttp2(`http://127.0.0.1:${port}`)
      t.teardown(() => { client.destroy() })
      const stream = client.request({ ':path': '/slow', cookie }).on('error', () => {})
      await until('the handler runs', 5000, () => begun)
      stream.close(constants.NGHTTP2_CANCEL)
    } else {
      const abort = new AbortController()
      fetch(`http://127.0.0.1:${port}/slow`, { headers: { cookie }, signal: abort.signal }).catch(() => {})
      await until('the handler runs', 5000, () => begun)
      abort.abort()
    }
    await until('it is saved', 5000, async () => (await app.inject({ url: '/look', headers: { cookie } })).json().slow === 1)
    t.notMatch(lines.join(''), /not saved/, http2 ? 'HTTP/2' : 'HTTP/1.1')
  }
})
