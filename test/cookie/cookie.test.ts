import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { test, type Test } from 'tap'
import { SessionCookie } from '../../src/cookie/cookie.js'
import type { CookieOptions } from '../../src/options.js'
import type { OwedCookie } from '../../src/response/headers.js'

const OPTIONS: CookieOptions = { name: '__Host-sid', secure: true, httpOnly: true, path: '/', sameSite: 'lax', partitioned: false, persistent: false }
const DAY = 24 * 60 * 60

interface Request { url?: string, headers?: Record<string, string>, trustProxy?: boolean }

/** Runs something with a cookie in a real request. Answers what it gave, and the warnings in the log. */
async function during<T> (t: Test, options: Partial<CookieOptions>, { url = '/', headers = {}, trustProxy = false }: Request, run: (cookie: SessionCookie, request: FastifyRequest) => T): Promise<{ result: T, warnings: string[] }> {
  const warnings: string[] = []
  const app: FastifyInstance = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { warnings.push((JSON.parse(line) as { msg: string }).msg) } } }, trustProxy })
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  const cookie = new SessionCookie({ ...OPTIONS, ...options }, app.serializeCookie)
  let result: T
  app.get('/*', async (request) => {
    result = run(cookie, request)
    return 'ok'
  })
  await app.inject({ url, headers })
  return { result: result!, warnings }
}

async function linesFor (t: Test, owed: OwedCookie, options: Partial<CookieOptions> = {}, request: Request = {}): Promise<string[]> {
  return (await during(t, options, request, (cookie, request) => cookie.lines(owed, request))).result
}

const token = (token: string, maxAge?: number): OwedCookie => ({ token, maxAge })

test('the cookie is one line, with all attributes', async (t) => {
  t.strictSame(await linesFor(t, token('the-token')), ['__Host-sid=the-token; Path=/; HttpOnly; Secure; SameSite=Lax'])
})

test('every attribute appears where it was asked for, and only there', async (t) => {
  const issued = async (options: Partial<CookieOptions>): Promise<string | undefined> => (await linesFor(t, token('x'), options))[0]
  t.equal(await issued({ name: 'sid', secure: false }), 'sid=x; Path=/; HttpOnly; SameSite=Lax')
  t.equal(await issued({ name: 'sid', httpOnly: false }), 'sid=x; Path=/; Secure; SameSite=Lax')
  t.equal(await issued({ name: 'sid', domain: 'example.com', path: '/app' }), 'sid=x; Domain=example.com; Path=/app; HttpOnly; Secure; SameSite=Lax')
  t.equal(await issued({ name: 'sid', sameSite: 'strict' }), 'sid=x; Path=/; HttpOnly; Secure; SameSite=Strict')
  t.equal(await issued({ name: 'sid', sameSite: 'none', partitioned: true, priority: 'high' }), 'sid=x; Path=/; HttpOnly; Secure; Partitioned; Priority=High; SameSite=None')
})

test('a persistent cookie lives as long as the session, in whole seconds, at least one, at most 400 days', async (t) => {
  for (const [given, expected] of [[1800, 1800], [1799.999, 1799], [1, 1], [0.4, 1], [0, 1], [-5, 1], [400 * DAY, 400 * DAY], [400 * DAY + 1, 400 * DAY], [1e12, 400 * DAY]] as const) {
    t.strictSame(await linesFor(t, token('x', given)), [`__Host-sid=x; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=${expected}`], String(given))
  }
})

test('clearing names the same cookie by the same attributes, and takes it back from the browser', async (t) => {
  for (const options of [{}, { name: 'sid', domain: 'example.com', path: '/app' }, { name: 'sid', secure: false, httpOnly: false }, { sameSite: 'none', partitioned: true, priority: 'low' }] as Array<Partial<CookieOptions>>) {
    const [issued = ''] = await linesFor(t, token('x'), options)
    const lines = await linesFor(t, 'clear', options)
    t.equal(lines.length, 1)
    const [pair = '', ...attributes] = (lines[0] ?? '').split('; ')
    t.equal(pair, `${options.name ?? '__Host-sid'}=`)
    t.ok(attributes.includes('Max-Age=0'))
    t.ok(attributes.includes('Expires=Thu, 01 Jan 1970 00:00:00 GMT'))
    t.strictSame(attributes.filter((attribute) => !/^(?:Max-Age|Expires)=/.test(attribute)).sort(), issued.split('; ').slice(1).sort())
  }
})

test('where two cookies of our name came, those of other domains and paths are dropped by the browser, and ours comes last', async (t) => {
  const two = { cookie: 'sid=a; sid=b', host: 'app.shop.example:8080' }
  const pairs = (lines: string[]): string[] => lines.map((line) => `${/^sid=([^;]*)/.exec(line)![1] === '' ? '-' : 'token'} ${/Domain=([^;]*)/.exec(line)?.[1] ?? 'host'} ${/Path=([^;]*)/.exec(line)![1]}`)
  t.strictSame(pairs(await linesFor(t, token('x'), { name: 'sid' }, { headers: two })),
    ['- app.shop.example /', '- shop.example /', 'token host /'], 'of this host alone, by default')
  t.strictSame(pairs(await linesFor(t, token('x'), { name: 'sid', domain: 'shop.example' }, { headers: two })),
    ['- host /', '- app.shop.example /', 'token shop.example /'])
  t.strictSame(pairs(await linesFor(t, token('x'), { name: 'sid', domain: '.Shop.example' }, { headers: two })),
    ['- host /', '- app.shop.example /', 'token .Shop.example /'], 'a leading dot means nothing (RFC 6265, section 5.2.3)')
  t.strictSame(pairs(await linesFor(t, 'clear', { name: 'sid', path: '/admin' }, { url: '/admin/login?next=/x', headers: { cookie: 'sid=a; sid=b', host: 'localhost' } })),
    ['- host /', '- host /admin/login', '- host /admin'])
  t.strictSame(pairs(await linesFor(t, token('x'), { name: 'sid' }, { headers: { cookie: 'sid=a; other=b', host: 'app.shop.example' } })), ['token host /'], 'one cookie is no reason')
  t.strictSame((await linesFor(t, token('x'), {}, { headers: { cookie: '__Host-sid=a; __Host-sid=b', host: 'app.shop.example' } })).length, 1, 'the prefix allows no other')
  for (const host of ['127.0.0.1', '[::1]:80', 'a b', 'x;y=1', '']) {
    const lines = await linesFor(t, token('x'), { name: 'sid' }, { headers: { cookie: 'sid=a; sid=b', host } })
    t.notOk(lines.some((line) => line.includes('Domain')), `no domain from the host ${JSON.stringify(host)}`)
  }
  const many = await linesFor(t, token('x'), { name: 'sid', path: '/p' }, { url: `/${'a/'.repeat(200)}`, headers: { cookie: 'sid=a; sid=b', host: `${'h.'.repeat(60)}example` } })
  t.ok(many.length <= 26, `never many: ${many.length}`)
})

test('which requests the cookie comes with', async (t) => {
  const reaches = async (path: string, url: string): Promise<boolean> => (await during(t, { name: 'sid', path }, { url }, (cookie, request) => cookie.reaches(request))).result
  for (const url of ['/', '/x', '/admin', '/%61', '/%2561']) t.equal(await reaches('/', url), true, url)
  for (const url of ['/admin', '/admin/', '/admin/x', '/admin?x', '/admin?/x', '/%61dmin', '/admin/%zz'.slice(0, 7)]) t.equal(await reaches('/admin', url), true, url)
  for (const url of ['/', '/adminx', '/Admin', '/x/admin', '/admi', '/?/admin', '/admin%2fx', '/x?path=/admin']) t.equal(await reaches('/admin', url), false, url)
  for (const [url, expected] of [['/admin/', true], ['/admin/x', true], ['/admin', false]] as const) t.equal(await reaches('/admin/', url), expected, url)
})

test('over plain http it is said once why a Secure cookie does not come back', async (t) => {
  const twice = (cookie: SessionCookie, request: FastifyRequest): void => {
    cookie.lines(token('x'), request)
    cookie.lines(token('y'), request)
  }
  const { warnings } = await during(t, {}, {}, twice)
  t.equal(warnings.length, 1)
  t.match(warnings[0], /"__Host-sid".*Secure.*plain http.*cookie\.secure.*SESSION_COOKIE_SECURE=false.*trustProxy/s)
  t.strictSame((await during(t, { name: 'sid', secure: false }, {}, twice)).warnings, [], 'not where it is not Secure')
  t.strictSame((await during(t, {}, { headers: { 'x-forwarded-proto': 'https' } }, twice)).warnings, [], 'not behind a proxy that ends TLS')
  t.strictSame((await during(t, {}, { headers: { 'x-forwarded-proto': 'https' }, trustProxy: true }, twice)).warnings, [], 'nor where that is trusted')
  t.equal((await during(t, {}, { headers: { 'x-forwarded-proto': 'http' }, trustProxy: true }, twice)).warnings.length, 1)
  t.strictSame((await during(t, {}, {}, (cookie, request) => cookie.lines('clear', request))).warnings, [], 'not when it is cleared')
})

test('headers that anybody can send never decide about Secure', async (t) => {
  for (const proto of ['http', 'https', 'nonsense']) {
    t.match(await linesFor(t, token('x'), {}, { headers: { 'x-forwarded-proto': proto }, trustProxy: true }), [/; Secure/], proto)
  }
})
