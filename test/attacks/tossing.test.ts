/** Several cookies of our name, and names that only look like ours: as bytes, because client libraries tidy them up. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import sessionPlugin from '../../src/index.js'
import { makeApp, SECRET, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { listen, sendRaw } from '../support/raw.js'

const NAME = '__Host-session-id'

function routes (app: FastifyInstance): void {
  app.get('/', async ({ session }: any) => session.get('owner') ?? 'anonymous')
  app.get('/set', async ({ session, query }: any) => { Object.assign(session, query); return {} })
}

/** An app that listens, and two good tokens: the victim's and the attacker's own. */
async function scene (t: Parameters<typeof makeApp>[0], lines: Lines = []) {
  const app = await makeApp(t, { redis: 'memory:', cookie: { secure: true }, lines }, routes)
  const tokens = []
  for (const owner of ['victim', 'mallory']) {
    const browser = new Browser(app)
    await browser.get(`/set?owner=${owner}`)
    tokens.push(browser.token!)
  }
  const port = await listen(app)
  const visit = async (...lines: string[]) => {
    const { status, headers, body } = await sendRaw(port, lines)
    return { status, body, cookies: headers.filter(([name]) => name === 'set-cookie').length }
  }
  return { visit, good: `${NAME}=${tokens[0]}`, evil: `${NAME}=${tokens[1]}` }
}

const ANONYMOUS = { status: 200, body: 'anonymous', cookies: 0 }
const VICTIM = { status: 200, body: 'victim', cookies: 0 }

test('of several cookies of our name none counts, in whatever order, number and header', async (t) => {
  const lines: Lines = []
  const { visit, good, evil } = await scene(t, lines)
  t.strictSame(await visit(`Cookie: ${good}`), VICTIM)
  const reasons: unknown[] = []
  const listener = (message: unknown): void => { reasons.push((message as { reason: string }).reason) }
  subscribe('fastify-live-session:rejected', listener)
  t.teardown(() => unsubscribe('fastify-live-session:rejected', listener))
  const copies = [2, 3, 5, 10, 20, 50].flatMap((count) => [
    [...Array<string>(count - 1).fill(evil), good], [good, ...Array<string>(count - 1).fill(evil)], Array<string>(count).fill(good), Array.from({ length: count }, (_, i) => `${NAME}=${i}`)
  ])
  const headers = [
    ...copies.map((cookies) => [`Cookie: ${cookies.join('; ')}`]),
    [`Cookie: ${good};${evil}`], [`Cookie: ${evil} ;\t${good}`], [`Cookie: ${good}; ${NAME}=`], [`Cookie: ${NAME}=; ${good}`], [`Cookie: ${NAME}=x; ${good}`],
    [`Cookie: a=1; ${evil}; b=2; ${good}; c=3`],
    [`Cookie: ${evil}`, `Cookie: ${good}`], [`Cookie: ${good}`, `cookie: ${evil}`], [`COOKIE: a=1; ${good}`, 'X: y', `Cookie: b=2; ${evil}`]
  ]
  for (const header of headers) t.strictSame(await visit(...header), ANONYMOUS, `${header.length} headers, ${header.join().length} bytes`)
  t.strictSame(reasons, headers.map(() => 'duplicate'))
  t.equal(lines.filter(({ msg }) => /several session cookies/.test(msg)).length, 1, 'one line in the log for all of them')
  t.strictSame(await visit('Cookie: a=1', `Cookie: ${good}`, 'Cookie: b=2'), VICTIM, 'several Cookie headers as such are fine')
  t.strictSame(await visit(`Cookie: ${good}`), VICTIM)
})

test('HTTP/2 may send each cookie in a header of its own', async (t) => {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(sessionPlugin, { secret: SECRET, redis: 'memory:', cookie: { secure: false } })
  routes(app as unknown as FastifyInstance)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const client = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => { client.destroy() })
  const visit = async (path: string, cookie: string[]): Promise<{ body: string, cookies: string[] }> => {
    const stream = client.request({ ':path': path, ...(cookie.length > 0 && { cookie }) })
    let body = ''
    stream.setEncoding('utf8').on('data', (chunk) => { body += chunk })
    const [headers] = await once(stream, 'response')
    await once(stream, 'end')
    return { body, cookies: headers['set-cookie'] ?? [] }
  }
  const [good, evil] = await Promise.all(['victim', 'mallory'].map(async (owner) => (await visit(`/set?owner=${owner}`, [])).cookies[0]!.split(';')[0]!))
  t.equal((await visit('/', [good!])).body, 'victim')
  t.equal((await visit('/', ['a=1', good!, 'b=2'])).body, 'victim')
  for (const cookies of [[good!, evil!], [evil!, good!], [evil!, 'a=1', good!]]) t.strictSame(await visit('/', cookies), { body: 'anonymous', cookies: [] })
})

/** Bytes that generous parsers take for white space or for part of nothing (Cookie Chaos, PortSwigger 2025), one character each. */
const ODD = ['\xa0', '\xe2\x80\x80', '\xe2\x80\x81', '\xe2\x80\xa8', '\xe3\x80\x80', '\xef\xbb\xbf', '\x85', '\xc2\x85', '\xc2\xa0', '\xad', '\xff', '\x80']

test('a name that begins or ends with other white space than spaces and tabs is another name', async (t) => {
  const { visit, good, evil } = await scene(t)
  for (const odd of ODD) {
    const shown = Buffer.from(odd, 'latin1').toString('hex')
    for (const bypass of [`${odd}${good}`, `${odd} ${good}`, good.replace('=', `${odd}=`), `x${odd}${good}`]) {
      t.strictSame(await visit(`Cookie: ${bypass}`), ANONYMOUS, `${shown} alone`)
      t.strictSame(await visit(`Cookie: a=1; ${bypass}`), ANONYMOUS, `${shown} after another`)
    }
    for (const bypass of [`${odd}${evil}`, evil.replace('=', `${odd}=`)]) {
      t.strictSame(await visit(`Cookie: ${bypass}; ${good}`), VICTIM, `${shown} before ours`)
      t.strictSame(await visit(`Cookie: ${good}; ${bypass}`), VICTIM, `${shown} after ours`)
    }
    t.strictSame(await visit(`Cookie: ${good}${odd}`), ANONYMOUS, `${shown} is part of the value`)
  }
})

test('legacy syntax, quotes, case and commas make no cookie of ours', async (t) => {
  const { visit, good, evil } = await scene(t)
  const quoted = good.replace('=', '="') + '"'
  for (const header of [
    `$Version="1"; ${quoted}; $Path="/"`, quoted, `$Version=1, ${good}`, `a="${good}"`, `a="; ${NAME}`, `a=b,${good}`, `a=${good}`, `$${good}`, `%5f%5fHost-session-id=${good.split('=')[1]!}`,
    good.toLowerCase(), good.replace(NAME, NAME.toUpperCase()), good.replace(NAME, NAME.toLowerCase()), good.replace('=', ' ='), good.replace('=', ':'), good.replace('=', '= '), good.replace('=', '=='),
    good.replace('__Host-', ''), good.replace('__Host-', '__Secure-'), `__Host-${good}`, good.replace('=', '[]='), good.replace('-', '%2D')
  ]) {
    t.strictSame(await visit(`Cookie: ${header}`), ANONYMOUS, header.replaceAll(/[\w-]{22}\.[\w.+/-]+/g, '…'))
  }
  t.strictSame(await visit(`Cookie: $Version="1"; ${good}; $Path="/"`), VICTIM, 'what browsers never send is just other cookies')
  for (const header of [`__host-session-id=${evil.split('=')[1]!}; ${good}`, `session-id=${evil.split('=')[1]!}; ${good}`]) t.strictSame(await visit(`Cookie: ${header}`), VICTIM, 'names are told apart by case and prefix')
})

test('control characters and folded lines never reach the plugin, and 17 kB of cookies are refused before it', async (t) => {
  const { visit, good, evil } = await scene(t)
  for (const byte of ['\0', '\x0b', '\x0c', '\x01', '\x7f', '\r', '\n']) {
    const { status, body, cookies } = await visit(`Cookie: a=1;${byte}${good}`)
    t.ok((status === 400 || body === 'anonymous') && cookies === 0, `${byte.charCodeAt(0)}: ${status}`)
  }
  const folded = await visit('Cookie: a=1;', ` ${good}`)
  t.ok([400, 200].includes(folded.status) && folded.cookies === 0)
  const big = await visit(`Cookie: ${'a=1; '.repeat(3500)}${good}`)
  t.match(big, { status: 431, cookies: 0 })
  t.strictSame(await visit(`Cookie: ${'a=1; '.repeat(2000)}${good}`), VICTIM, 'below the limit they are just many')
  t.strictSame(await visit(`Cookie: ${evil}; ${'a=1; '.repeat(2000)}${good}`), ANONYMOUS)
})
