import Fastify, { type FastifyReply } from 'fastify'
import { test, type Test } from 'tap'
import { writeHeaders, type Answer, type CookieLines } from '../../src/response/headers.js'

const cookie: CookieLines = { name: 'sid', lines: (owed) => [owed === 'clear' ? 'sid=; Max-Age=0' : `sid=${owed.token}`] }
const other: CookieLines = { ...cookie, name: 'other', lines: (owed) => [owed === 'clear' ? 'other=; Max-Age=0' : `other=${owed.token}`] }

const NOTHING: Answer = { cookie: undefined, looked: false, momentary: false, comeAgain: false }
const issue = (token: string): Answer => ({ ...NOTHING, cookie: { token, maxAge: undefined } })
const clear: Answer = { ...NOTHING, cookie: 'clear' }
const looked: Answer = { ...NOTHING, looked: true }

interface Response { status: number, lines: string[], headers: Record<string, unknown>, body: string }

/** Answers one request by a handler. `last` is what is written when the payload is known. */
async function answer (t: Test, handler: (reply: FastifyReply) => unknown, last?: Answer): Promise<Response> {
  const app = Fastify()
  t.teardown(() => app.close())
  if (last !== undefined) app.addHook('onSend', async (_, reply, payload) => writeHeaders(reply, cookie, last, payload))
  app.get('/', async (_, reply) => {
    const payload = await handler(reply)
    return reply.sent ? reply : payload ?? 'the answer'
  })
  const response = await app.inject('/')
  return { status: response.statusCode, lines: [response.headers['set-cookie'] ?? []].flat(), headers: response.headers, body: response.body }
}

const sorted = (lines: string[]): string[] => lines.map((line) => line.split(';')[0]!).sort()

test('what is written again replaces what was written', async (t) => {
  for (const [answers, expected] of [
    [[issue('1')], ['sid=1']],
    [[issue('1'), issue('2'), issue('3')], ['sid=3']],
    [[issue('1'), clear], ['sid=; Max-Age=0']],
    [[clear, issue('1')], ['sid=1']],
    [[issue('1'), NOTHING], []],
    [[issue('1'), NOTHING, NOTHING, issue('2')], ['sid=2']],
    [[NOTHING], []]
  ] as const) t.strictSame((await answer(t, (reply) => { for (const one of answers) writeHeaders(reply, cookie, one) })).lines, expected)
})

test('other cookies of the response stay, however they are set', async (t) => {
  const { lines } = await answer(t, (reply) => {
    reply.header('set-cookie', 'a=1')
    writeHeaders(reply, cookie, issue('first'))
    reply.header('set-cookie', ['c=3', 'd=4'])
    writeHeaders(reply, cookie, issue('second'))
    writeHeaders(reply, other, issue('1'))
    writeHeaders(reply, cookie, NOTHING)
    reply.header('set-cookie', 'f=6')
    writeHeaders(reply, cookie, issue('third'))
    writeHeaders(reply, other, clear)
  })
  t.strictSame(sorted(lines), ['a=1', 'c=3', 'd=4', 'f=6', 'other=', 'sid=third'])
  t.strictSame((await answer(t, (reply) => {
    reply.raw.appendHeader('set-cookie', 'a=1')
    reply.raw.appendHeader('set-cookie', 'b=2')
    writeHeaders(reply, cookie, issue('first'))
    writeHeaders(reply, cookie, issue('second'))
  })).lines, ['a=1', 'b=2', 'sid=second'], 'also those that a middleware put into the raw response')
})

test('a line of the application that looks like ours is not ours to take back', async (t) => {
  t.strictSame((await answer(t, (reply) => {
    reply.header('set-cookie', 'sid=by-the-application')
    writeHeaders(reply, cookie, issue('1'))
    writeHeaders(reply, cookie, NOTHING)
  })).lines, ['sid=by-the-application'])
})

test('in a hijacked reply everything goes into the raw response', async (t) => {
  const { lines, headers } = await answer(t, (reply) => {
    reply.hijack()
    reply.raw.appendHeader('set-cookie', 'a=1')
    reply.raw.setHeader('vary', 'Accept')
    writeHeaders(reply, cookie, { ...issue('first'), looked: true })
    reply.raw.appendHeader('set-cookie', 'b=2')
    writeHeaders(reply, cookie, { ...issue('second'), looked: true })
    reply.raw.end('by hand')
  })
  t.strictSame(sorted(lines), ['a=1', 'b=2', 'sid=second'])
  t.match(headers, { 'cache-control': 'no-store', vary: 'Accept, Cookie' })
  const late = await answer(t, (reply) => {
    reply.hijack()
    reply.raw.writeHead(200)
    writeHeaders(reply, cookie, issue('too late'))
    reply.raw.end('by hand')
  })
  t.strictSame([late.lines, late.body], [[], 'by hand'])
})

test('a response that brings a cookie, or stands for the moment only, is stored by no cache, whatever the application said', async (t) => {
  for (const last of [issue('x'), clear, { ...NOTHING, momentary: true }]) {
    const controlled = async (control: string | undefined): Promise<unknown> => (await answer(t, (reply) => { if (control !== undefined) reply.header('cache-control', control) }, last)).headers['cache-control']
    t.equal(await controlled(undefined), 'no-store')
    for (const control of ['public, max-age=3600', 'private', 'no-cache', 'max-age=0', 'x-no-store', 'no-store-x', 'no-cache="no-store"']) {
      t.equal(await controlled(control), 'no-store', control)
    }
    for (const control of ['no-store', 'NO-STORE', 'no-store, max-age=0', 'private, no-store', 'private,no-store,max-age=0', 'no-cache, No-Store , must-revalidate']) {
      t.equal(await controlled(control), control, control)
    }
  }
  for (const last of [NOTHING, looked]) t.equal((await answer(t, (reply) => { reply.header('cache-control', 'public') }, last)).headers['cache-control'], 'public')
})

test('nor by a cache that heeds headers of its own', async (t) => {
  const given = { 'cdn-cache-control': 'public, max-age=3600', 'Surrogate-Control': 'max-age=3600', 'vercel-cdn-cache-control': 'max-age=60', 'x-own': '1' }
  for (const handler of [(reply: FastifyReply) => { reply.headers(given) }, () => new Response('body', { headers: given })]) {
    const targeted = (headers: object): string[] => Object.keys(headers).filter((name) => /cdn|surrogate|x-own/.test(name)).sort()
    t.strictSame(targeted((await answer(t, handler, issue('x'))).headers), ['x-own'])
    t.strictSame(targeted((await answer(t, handler, looked)).headers), ['cdn-cache-control', 'surrogate-control', 'vercel-cdn-cache-control', 'x-own'], 'no cookie, no need')
  }
})

test('Vary gets Cookie exactly once, beside what is there', async (t) => {
  const varied = async (...given: string[]): Promise<unknown> => (await answer(t, (reply) => {
    for (const value of given) reply.header('vary', value)
    writeHeaders(reply, cookie, looked)
  }, looked)).headers['vary']
  t.equal(await varied(), 'Cookie')
  t.equal(await varied(''), 'Cookie')
  t.equal(await varied('Accept'), 'Accept, Cookie')
  t.equal(await varied('Accept, Accept-Encoding'), 'Accept, Accept-Encoding, Cookie')
  t.equal(await varied('Cookie2'), 'Cookie2, Cookie')
  t.equal(await varied('X-Cookie'), 'X-Cookie, Cookie')
  for (const enough of ['Cookie', 'cookie', 'COOKIE', 'Accept, Cookie', 'Accept,cookie,Origin', ' Cookie ', '*', ' * ']) {
    t.equal(String(await varied(enough)).trim(), enough.trim(), enough)
  }
  const { headers } = await answer(t, (reply) => { reply.header('vary', ['Accept', 'Origin']) }, looked)
  t.match(String(headers['vary']).split(',').map((name) => name.trim()), ['Accept', 'Origin', 'Cookie'])
})

test('the client is told when to come again, within seconds', async (t) => {
  const { headers } = await answer(t, (reply) => { reply.code(503) }, { ...NOTHING, momentary: true, comeAgain: true })
  t.match(headers['retry-after'], /^[123]$/)
  t.equal(headers['cache-control'], 'no-store')
  t.notOk(Object.hasOwn((await answer(t, () => {}, NOTHING)).headers, 'retry-after'))
})

test('a web Response says nothing else', async (t) => {
  const restricted = { ...issue('x'), looked: true }
  const given = { 'cache-control': 'public, max-age=3600', vary: 'Accept-Encoding', 'x-own': '1' }
  const made = await answer(t, () => new Response('body', { status: 201, headers: given }), restricted)
  t.match(made, { status: 201, body: 'body', lines: ['sid=x'], headers: { 'cache-control': 'no-store', vary: 'Accept-Encoding, Cookie', 'x-own': '1' } })

  const beside = await answer(t, (reply) => {
    reply.headers({ 'cache-control': 'private', vary: 'Origin' })
    return new Response('body', { headers: { 'x-own': '1' } })
  }, restricted)
  t.match(beside.headers, { 'cache-control': 'no-store', vary: 'Origin, Cookie', 'x-own': '1' }, 'what it does not say, the reply says')

  const cookies = new Response('body', { headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2'], ['cache-control', 'public']] })
  t.strictSame(sorted((await answer(t, () => cookies, restricted)).lines), ['a=1', 'b=2', 'sid=x'], 'its own cookies stay')

  for (const status of [204, 304]) {
    const empty = await answer(t, () => new Response(null, { status, headers: given }), restricted)
    t.match(empty, { status, body: '', headers: { 'cache-control': 'no-store' } }, `${status}`)
  }
  const untouched = new Response('body', { headers: given })
  t.equal((await answer(t, () => untouched, NOTHING)).headers['cache-control'], given['cache-control'], 'where nothing is owed, nothing changes')
  const again = await answer(t, () => new Response('body', { status: 503, headers: { 'retry-after': '86400' } }), { ...NOTHING, momentary: true, comeAgain: true })
  t.match(again.headers['retry-after'], /^[123]$/)
})

test('so does one that fetch() gave, whose headers cannot be changed', async (t) => {
  const upstream = Fastify()
  t.teardown(() => upstream.close())
  upstream.get('/', async (_, reply) => reply.headers({ 'cache-control': 'public, max-age=86400', vary: 'Origin', etag: '"1"' }).type('image/svg+xml').send('<svg/>'))
  const address = await upstream.listen({ port: 0, host: '127.0.0.1' })
  const { headers, body, lines } = await answer(t, async () => await fetch(address), { ...issue('x'), looked: true })
  t.match(headers, { 'cache-control': 'no-store', vary: 'Origin, Cookie', etag: '"1"', 'content-type': 'image/svg+xml' })
  t.strictSame([body, lines], ['<svg/>', ['sid=x']])
})

test('a web Response that cannot be sent is refused by Fastify, and no cookie leaves in a cacheable answer', async (t) => {
  const read = new Response('body', { headers: { 'cache-control': 'public' } })
  await read.text()
  for (const payload of [read, Response.error()]) {
    const { status, headers } = await answer(t, () => payload, issue('x'))
    t.ok(status >= 500, `${status}`)
    t.equal(headers['cache-control'], 'no-store')
  }
})
