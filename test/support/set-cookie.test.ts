import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import { checkSetCookies, parseSetCookie } from './set-cookie.js'

const TOKEN = `${'A'.repeat(22)}.${'B'.repeat(32)}.${'C'.repeat(43)}`
const head = { statusCode: 200, cacheControl: 'no-store' }

test('a line is taken apart', async (t) => {
  const { name, value, attributes } = parseSetCookie('__Host-a=b=c; Path=/; Max-Age=5; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=None; Partitioned; Priority=High')
  t.strictSame([name, value], ['__Host-a', 'b=c'])
  t.strictSame(Object.fromEntries(attributes), { path: '/', 'max-age': '5', expires: 'Thu, 01 Jan 1970 00:00:00 GMT', httponly: true, secure: true, samesite: 'None', partitioned: true, priority: 'High' })
})

test('lines that break the grammar are noticed', async (t) => {
  for (const line of [
    '', 'a', '=1', 'a b=1', 'a=1;Path=/', 'a=1;  Path=/', 'a=1; ', 'a="1"', 'a=1,2', 'a=\u00e4', 'a=1\r\nb: c', 'a=1; Foo', 'a=1; Foo=1', `a=${'x'.repeat(4096)}`,
    'a=1; Path=/; Path=/', 'a=1; path=/; Path=/x', 'a=1; Path=x', 'a=1; Path', `a=1; Path=/${'x'.repeat(1024)}`, 'a=1; Secure=1', 'a=1; HttpOnly=', 'a=1; SameSite=lax', 'a=1; SameSite',
    'a=1; SameSite=None', 'a=1; Partitioned; SameSite=None', 'a=1; Max-Age=-1', 'a=1; Max-Age=1.5', 'a=1; Max-Age=01', 'a=1; Max-Age=34560001', 'a=1; Expires=tomorrow', 'a=1; Expires=1970-01-01',
    '__Host-a=1; Path=/', '__Host-a=1; Secure', '__Host-a=1; Path=/x; Secure', '__host-a=1; Path=/; Secure; Domain=a.example', '__Secure-a=1; Path=/', '__Http-a=1; Path=/'
  ]) {
    t.throws(() => parseSetCookie(line), JSON.stringify(line.slice(0, 60)))
  }
})

test('responses that break the rules of their cookies are noticed', async (t) => {
  const ours = `session-id=${TOKEN}; Path=/; SameSite=Lax`
  t.equal(checkSetCookies({ ...head, setCookie: [ours, 'other=1'] }).length, 2)
  t.throws(() => checkSetCookies({ ...head, setCookie: [ours, ours] }), /of one name/)
  const stray = 'session-id=; Max-Age=0; Path=/; SameSite=Lax; Domain=example.com'
  t.equal(checkSetCookies({ ...head, setCookie: [stray, ours] }).length, 2, 'another cookie of that name is dropped')
  for (const setCookie of [[ours, stray], [ours, `${ours}; Domain=example.com`], [stray, stray, ours], [ours.replace('; Path=/', '; Max-Age=0; Path=/'), ours]]) {
    t.throws(() => checkSetCookies({ ...head, setCookie }), /of one name/, setCookie.map((line) => line.slice(0, 14)).join())
  }
  t.throws(() => checkSetCookies({ ...head, setCookie: [ours], statusCode: 503 }), /503/)
  for (const cacheControl of ['', 'public', 'x-no-store']) t.throws(() => checkSetCookies({ ...head, setCookie: [ours], cacheControl }), /stored by caches/)
  for (const setCookie of [`session-id=${TOKEN}; Path=/`, `any=${TOKEN}; SameSite=Lax`, 'session-id=; Max-Age=0; Path=/']) {
    t.throws(() => checkSetCookies({ ...head, setCookie: [setCookie] }), /without/, setCookie.slice(0, 20))
  }
})

test('no response escapes: not of an injected request, nor over a socket, nor written by hand', async (t) => {
  const program = `
    const thrown = []
    process.on('uncaughtException', (error) => { thrown.push(error.message) })
    const { default: Fastify } = await import('fastify')
    const { default: sessionPlugin } = await import(${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)})
    const app = Fastify()
    await app.register(sessionPlugin, { secret: 'a secret of the tests 8f1c0d7e5b2a', redis: 'memory:' })
    app.get('/good', async ({ session }) => { session.a = 1; return 'x' })
    app.get('/bad', async (_, reply) => reply.header('set-cookie', 'a=1;Path=/').send('x'))
    app.get('/hand', async (_, reply) => { reply.hijack(); reply.raw.setHeader('set-cookie', 'b=1;Path=/'); reply.raw.end('x') })
    await app.inject('/good')
    await app.inject('/bad')
    await app.inject('/hand')
    await (await fetch(await app.listen({ port: 0 }) + '/bad')).text()
    await app.close()
    await new Promise(setImmediate)
    console.log(JSON.stringify(thrown))`
  const { stdout, stderr } = spawnSync(process.execPath, [...process.execArgv, '--input-type=module', '--eval', program], { encoding: 'utf8', cwd: fileURLToPath(new URL('../..', import.meta.url)) })
  t.equal(stderr, '')
  t.strictSame(JSON.parse(stdout), ['GET /bad: no cookie-pair: a=1;Path=/', 'GET /hand: no cookie-pair: b=1;Path=/', 'GET /bad: no cookie-pair: a=1;Path=/'])
})
