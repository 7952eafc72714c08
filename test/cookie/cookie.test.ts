import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { test, type Test } from 'tap'
import { SessionCookie, varyByCookie } from '../../src/cookie/cookie.js'
import type { CookieOptions } from '../../src/options.js'

const OPTIONS: CookieOptions = { name: '__Host-sid', secure: true, httpOnly: true, path: '/', sameSite: 'lax', partitioned: false, persistent: false }
const DAY = 24 * 60 * 60

type Handler = (reply: FastifyReply, cookie: SessionCookie, request: FastifyRequest) => unknown

interface Response { status: number, lines: string[], headers: Record<string, unknown>, body: string, warnings: string[] }

/** Answers one request by a handler that uses the cookie. */
async function answer (t: Test, handler: Handler, options: Partial<CookieOptions> = {}, request: { headers?: Record<string, string>, trustProxy?: boolean, prepare?: (app: FastifyInstance) => void } = {}): Promise<Response> {
  const warnings: string[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { warnings.push((JSON.parse(line) as { msg: string }).msg) } } }, trustProxy: request.trustProxy ?? false })
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  const cookie = new SessionCookie({ ...OPTIONS, ...options }, app.serializeCookie)
  request.prepare?.(app)
  app.get('/', async (request, reply) => {
    await handler(reply, cookie, request)
    return reply.sent ? reply : 'the answer'
  })
  const response = await app.inject({ url: '/', headers: request.headers ?? {} })
  return { status: response.statusCode, lines: [response.headers['set-cookie'] ?? []].flat(), headers: response.headers, body: response.body, warnings }
}

test('issuing puts one line into the response, with all attributes', async (t) => {
  const { lines, headers } = await answer(t, (reply, cookie) => { cookie.issue(reply, 'the-token', undefined) })
  t.strictSame(lines, ['__Host-sid=the-token; Path=/; HttpOnly; Secure; SameSite=Lax'])
  t.equal(headers['cache-control'], 'no-store')
})

test('every attribute appears where it was asked for, and only there', async (t) => {
  const issued = async (options: Partial<CookieOptions>) => (await answer(t, (reply, cookie) => { cookie.issue(reply, 'x', undefined) }, options)).lines[0]
  t.equal(await issued({ name: 'sid', secure: false }), 'sid=x; Path=/; HttpOnly; SameSite=Lax')
  t.equal(await issued({ name: 'sid', httpOnly: false }), 'sid=x; Path=/; Secure; SameSite=Lax')
  t.equal(await issued({ name: 'sid', domain: 'example.com', path: '/app' }), 'sid=x; Domain=example.com; Path=/app; HttpOnly; Secure; SameSite=Lax')
  t.equal(await issued({ name: 'sid', sameSite: 'strict' }), 'sid=x; Path=/; HttpOnly; Secure; SameSite=Strict')
  t.equal(await issued({ name: 'sid', sameSite: 'none', partitioned: true, priority: 'high' }), 'sid=x; Path=/; HttpOnly; Secure; Partitioned; Priority=High; SameSite=None')
})

test('the token stands in the cookie as it is', async (t) => {
  const token = 'AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB.a+/a+/a+/a+/a+/a+/a+/a+/a+/a+/a+/a+/a+/a+/a'
  const { lines } = await answer(t, (reply, cookie) => { cookie.issue(reply, token, undefined) })
  t.ok(lines[0]?.startsWith(`__Host-sid=${token}; `))
})

test('a persistent cookie lives as long as the session, in whole seconds, at least one, at most 400 days', async (t) => {
  for (const [given, expected] of [[1800, 1800], [1799.999, 1799], [1, 1], [0.4, 1], [0, 1], [-5, 1], [400 * DAY, 400 * DAY], [400 * DAY + 1, 400 * DAY], [1e12, 400 * DAY]] as const) {
    const { lines } = await answer(t, (reply, cookie) => { cookie.issue(reply, 'x', given) })
    t.strictSame(lines, [`__Host-sid=x; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=${expected}`], String(given))
  }
})

test('issuing again replaces the line', async (t) => {
  const { lines } = await answer(t, (reply, cookie) => {
    cookie.issue(reply, 'first', undefined)
    cookie.issue(reply, 'second', 60)
    cookie.issue(reply, 'third', undefined)
  })
  t.strictSame(lines, ['__Host-sid=third; Path=/; HttpOnly; Secure; SameSite=Lax'])
})

test('clearing names the same cookie by the same attributes, and takes it back from the browser', async (t) => {
  for (const options of [{}, { name: 'sid', domain: 'example.com', path: '/app' }, { name: 'sid', secure: false, httpOnly: false }, { sameSite: 'none', partitioned: true, priority: 'low' }] as Array<Partial<CookieOptions>>) {
    const issued = (await answer(t, (reply, cookie) => { cookie.issue(reply, 'x', undefined) }, options)).lines[0] ?? ''
    const { lines, headers } = await answer(t, (reply, cookie) => { cookie.clear(reply) }, options)
    t.equal(lines.length, 1)
    const [pair = '', ...attributes] = (lines[0] ?? '').split('; ')
    t.equal(pair, `${options.name ?? '__Host-sid'}=`)
    t.ok(attributes.includes('Max-Age=0'))
    t.ok(attributes.includes('Expires=Thu, 01 Jan 1970 00:00:00 GMT'))
    t.strictSame(attributes.filter((attribute) => !/^(?:Max-Age|Expires)=/.test(attribute)).sort(), issued.split('; ').slice(1).sort())
    t.equal(headers['cache-control'], 'no-store')
  }
})

test('clearing replaces what was issued, and the other way round', async (t) => {
  const cleared = await answer(t, (reply, cookie) => {
    cookie.issue(reply, 'x', undefined)
    cookie.clear(reply)
  })
  t.equal(cleared.lines.length, 1)
  t.match(cleared.lines[0], /^__Host-sid=; .*Max-Age=0/)
  const issued = await answer(t, (reply, cookie) => {
    cookie.clear(reply)
    cookie.issue(reply, 'x', undefined)
  })
  t.strictSame(issued.lines, ['__Host-sid=x; Path=/; HttpOnly; Secure; SameSite=Lax'])
})

test('withdrawing takes our line back, and nothing else', async (t) => {
  const { lines } = await answer(t, (reply, cookie) => {
    reply.header('set-cookie', 'a=1')
    cookie.issue(reply, 'x', undefined)
    reply.header('set-cookie', 'b=2')
    cookie.withdraw(reply)
  })
  t.strictSame(lines, ['a=1', 'b=2'])
  t.strictSame((await answer(t, (reply, cookie) => {
    cookie.issue(reply, 'x', undefined)
    cookie.withdraw(reply)
    cookie.withdraw(reply)
  })).lines, [])
  t.strictSame((await answer(t, (reply, cookie) => {
    reply.header('set-cookie', 'a=1')
    cookie.withdraw(reply)
  })).lines, ['a=1'])
  t.strictSame((await answer(t, (reply, cookie) => {
    cookie.issue(reply, 'x', undefined)
    cookie.withdraw(reply)
    cookie.issue(reply, 'y', undefined)
  })).lines, ['__Host-sid=y; Path=/; HttpOnly; Secure; SameSite=Lax'])
})

test('other cookies of the response stay, however they are set', async (t) => {
  const { lines } = await answer(t, (reply, cookie) => {
    reply.header('set-cookie', 'a=1')
    reply.setCookie('b', '2', { path: '/' })
    cookie.issue(reply, 'first', undefined)
    reply.header('set-cookie', ['c=3', 'd=4'])
    cookie.issue(reply, 'second', undefined)
    reply.setCookie('e', '5', { path: '/' })
    cookie.issue(reply, 'third', undefined)
    reply.header('set-cookie', 'f=6')
  })
  t.strictSame(lines.map((line) => line.split(';')[0]).sort(), ['__Host-sid=third', 'a=1', 'b=2', 'c=3', 'd=4', 'e=5', 'f=6'])
})

test('a cookie that stands in the raw response, by a middleware for instance, stays as well', async (t) => {
  const { lines } = await answer(t, (reply, cookie) => {
    reply.raw.appendHeader('set-cookie', 'a=1')
    reply.raw.appendHeader('set-cookie', 'b=2')
    cookie.issue(reply, 'first', undefined)
    cookie.issue(reply, 'second', undefined)
  })
  t.strictSame(lines.map((line) => line.split(';')[0]).sort(), ['__Host-sid=second', 'a=1', 'b=2'])
})

test('a line of the application that looks like ours is not ours to take back', async (t) => {
  const { lines } = await answer(t, (reply, cookie) => {
    reply.header('set-cookie', '__Host-sid=by-the-application; Path=/; Secure')
    cookie.issue(reply, 'x', undefined)
    cookie.withdraw(reply)
  })
  t.strictSame(lines, ['__Host-sid=by-the-application; Path=/; Secure'])
})

test('two instances with different names do not touch each other\'s lines', async (t) => {
  const { lines } = await answer(t, (reply, cookie) => {
    const other = new SessionCookie({ ...OPTIONS, name: 'other' }, reply.server.serializeCookie)
    cookie.issue(reply, '1', undefined)
    other.issue(reply, '2', undefined)
    cookie.issue(reply, '3', undefined)
    other.clear(reply)
    cookie.withdraw(reply)
    cookie.issue(reply, '4', undefined)
  })
  t.strictSame(lines.map((line) => line.split(';')[0]).sort(), ['__Host-sid=4', 'other='])
})

test('in a hijacked reply the line goes into the raw response, and other lines stay there too', async (t) => {
  const { lines, headers } = await answer(t, (reply, cookie) => {
    reply.hijack()
    reply.raw.appendHeader('set-cookie', 'a=1')
    cookie.issue(reply, 'first', undefined)
    reply.raw.appendHeader('set-cookie', 'b=2')
    cookie.issue(reply, 'second', undefined)
    reply.raw.end('by hand')
  })
  t.strictSame(lines.map((line) => line.split(';')[0]).sort(), ['__Host-sid=second', 'a=1', 'b=2'])
  t.equal(headers['cache-control'], 'no-store')
  const withdrawn = await answer(t, (reply, cookie) => {
    reply.hijack()
    reply.raw.appendHeader('set-cookie', 'a=1')
    cookie.issue(reply, 'first', undefined)
    cookie.withdraw(reply)
    reply.raw.end('by hand')
  })
  t.strictSame(withdrawn.lines, ['a=1'])
})

test('a response that sets the cookie is stored by no cache, whatever the application said', async (t) => {
  const controlled = async (control: string | undefined, when: 'before' | 'after') => (await answer(t, (reply, cookie) => {
    if (control !== undefined && when === 'before') reply.header('cache-control', control)
    cookie.issue(reply, 'x', undefined)
    if (control !== undefined && when === 'after') reply.header('cache-control', control)
    cookie.settle(reply)
  })).headers['cache-control']
  for (const when of ['before', 'after'] as const) {
    t.equal(await controlled(undefined, when), 'no-store')
    for (const control of ['public, max-age=3600', 'private', 'no-cache', 'max-age=0', 'x-no-store', 'no-store-x', 'no-cache="no-store"']) {
      t.equal(await controlled(control, when), 'no-store', `${control}, ${when}`)
    }
    for (const control of ['no-store', 'NO-STORE', 'no-store, max-age=0', 'private, no-store', 'private,no-store,max-age=0', 'no-cache, No-Store , must-revalidate']) {
      t.equal(await controlled(control, when), control, `${control}, ${when}`)
    }
  }
})

test('a response without our cookie keeps its own caching', async (t) => {
  for (const handler of [
    (reply, cookie) => { cookie.settle(reply) },
    (reply, cookie) => {
      cookie.issue(reply, 'x', undefined)
      cookie.withdraw(reply)
      reply.header('cache-control', 'public')
      cookie.settle(reply)
    }
  ] as Handler[]) {
    const { headers } = await answer(t, (reply, cookie, request) => {
      reply.header('cache-control', 'public')
      return handler(reply, cookie, request)
    })
    t.equal(headers['cache-control'], 'public')
  }
})

test('Vary gets Cookie exactly once, beside what is there', async (t) => {
  const varied = async (...given: string[]) => (await answer(t, (reply) => {
    for (const value of given) reply.header('vary', value)
    varyByCookie(reply)
    varyByCookie(reply)
  })).headers['vary']
  t.equal(await varied(), 'Cookie')
  t.equal(await varied('Accept'), 'Accept, Cookie')
  t.equal(await varied('Accept, Accept-Encoding'), 'Accept, Accept-Encoding, Cookie')
  t.equal(await varied('Cookie2'), 'Cookie2, Cookie')
  t.equal(await varied('X-Cookie'), 'X-Cookie, Cookie')
  for (const enough of ['Cookie', 'cookie', 'COOKIE', 'Accept, Cookie', 'Accept,cookie,Origin', ' Cookie ', '*', ' * ']) {
    t.equal(String(await varied(enough)).trim(), enough.trim(), enough)
  }
})

test('Vary takes several values as they come', async (t) => {
  const { headers } = await answer(t, (reply) => {
    reply.header('vary', ['Accept', 'Origin'])
    varyByCookie(reply)
  })
  t.match(String(headers['vary']).split(',').map((name) => name.trim()), ['Accept', 'Origin', 'Cookie'])
})

test('over plain http it is said once why a Secure cookie does not come back', async (t) => {
  const twice: Handler = (reply, cookie) => {
    cookie.issue(reply, 'x', undefined)
    cookie.issue(reply, 'y', undefined)
  }
  const { warnings } = await answer(t, twice)
  t.equal(warnings.length, 1)
  t.match(warnings[0], /"__Host-sid".*Secure.*plain http.*cookie\.secure.*SESSION_COOKIE_SECURE=false.*trustProxy/s)
  t.strictSame((await answer(t, twice, { name: 'sid', secure: false })).warnings, [], 'not where it is not Secure')
  t.strictSame((await answer(t, twice, {}, { headers: { 'x-forwarded-proto': 'https' } })).warnings, [], 'not behind a proxy that ends TLS')
  t.strictSame((await answer(t, twice, {}, { headers: { 'x-forwarded-proto': 'https' }, trustProxy: true })).warnings, [], 'nor where that is trusted')
  t.equal((await answer(t, twice, {}, { headers: { 'x-forwarded-proto': 'http' }, trustProxy: true })).warnings.length, 1)
  t.strictSame((await answer(t, (reply, cookie) => { cookie.clear(reply) })).warnings, [], 'not when it is cleared')
  t.notMatch(warnings.join(''), 'the-token')
})

test('headers that anybody can send never decide about Secure', async (t) => {
  for (const proto of ['http', 'https', 'nonsense']) {
    const { lines } = await answer(t, (reply, cookie) => { cookie.issue(reply, 'x', undefined) }, {}, { headers: { 'x-forwarded-proto': proto }, trustProxy: true })
    t.match(lines[0], '; Secure', proto)
  }
})
