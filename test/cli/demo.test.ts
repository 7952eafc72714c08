import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { Script } from 'node:vm'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { test, type Test } from 'tap'
import { demoOptions, readFlags } from '../../src/cli/demo/command.js'
import { ClientLimit } from '../../src/cli/demo/client-limit.js'
import { MAX_TTL } from '../../src/cli/demo/forms.js'
import type { DemoOptions } from '../../src/cli/demo/options.js'
import { escapeHtml } from '../../src/cli/demo/page.js'
import { dataFirst, redisCliOutput } from '../../src/cli/demo/redis-cli.js'
import { isFromOtherOrigin } from '../../src/cli/demo/same-origin.js'
import { buildDemo } from '../../src/cli/demo/server.js'
import { setCookies } from '../support/browser.js'
import { CliProcess } from '../support/cli-process.js'
import { startRedis } from '../support/redis-process.js'
import { until } from '../support/until.js'

const SECRET = 'a secret for tests only 0123456789abcdef'

for (const name of Object.keys(process.env)) {
  if (name.startsWith('SESSION_')) delete process.env[name]
}

/** A browser with one cookie. */
class Client {
  cookie: string | undefined
  constructor (readonly app: FastifyInstance, readonly userAgent = 'curl/8') {}

  async send (method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, form?: Record<string, string>, headers?: InjectOptions['headers']) {
    const response = await this.app.inject({
      method,
      url,
      headers: {
        'user-agent': this.userAgent,
        ...this.cookie !== undefined && { cookie: this.cookie },
        ...form !== undefined && { 'content-type': 'application/x-www-form-urlencoded' },
        ...headers
      },
      ...form !== undefined && { payload: new URLSearchParams(form).toString() }
    })
    const cookies = setCookies(response)
    if (cookies.length > 1) throw new Error('more than one Set-Cookie')
    for (const { name, value, attributes } of cookies) this.cookie = attributes.get('max-age') === '0' ? undefined : `${name}=${value}`
    return response
  }

  get (url: string) { return this.send('GET', url) }
  post (url: string, form?: Record<string, string>) { return this.send('POST', url, form) }
}

async function start (t: Test, options: Partial<DemoOptions> = {}): Promise<Client> {
  const app = await buildDemo({ redis: 'memory:', secret: SECRET, secureCookie: false, ...options })
  t.teardown(() => app.close())
  return new Client(app)
}

const GUEST = /^Guest [0-9a-f]{12}$/
const VIEW_KEYS = ['authenticated', 'configured_ttl', 'session', 'session_id', 'ttl']
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const ISO_SECONDS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/

test('without a cookie', async t => {
  const client = await start(t)
  const session = await client.get('/session')
  t.equal(session.statusCode, 200)
  t.strictSame(session.json(), { authenticated: false, session: null })
  t.notOk(session.headers['set-cookie'])
  for (const url of ['/increment', '/ttl', '/rotate', '/field']) {
    const answer = await client.post(url)
    t.equal(answer.statusCode, 401, url)
    t.strictSame(answer.json(), { error: 'No active session' }, url)
    t.notOk(answer.headers['set-cookie'], url)
  }
  const record = await client.get('/record')
  t.equal(record.statusCode, 401)
  t.strictSame(record.json(), { error: 'No active session' })
  t.strictSame((await client.post('/logout')).json(), { authenticated: false })
})

test('login', async t => {
  const client = await start(t)
  const answer = await client.post('/login', { username: '  Andrew ', ttl: '20' })
  t.equal(answer.statusCode, 200)
  const view = answer.json()
  t.strictSame(Object.keys(view).sort(), VIEW_KEYS)
  t.equal(view.authenticated, true)
  t.match(view.session_id, /^[\w-]{22}$/)
  t.equal(view.configured_ttl, 20)
  t.equal(view.ttl, 20)
  t.match(view.session, { username: 'Andrew', page_views: '1', session_ttl: '20', created_at: ISO_SECONDS, last_accessed_at: ISO_SECONDS })
  t.match(answer.headers['set-cookie'], /^session-id=[^;]+; Path=\/; HttpOnly; SameSite=Lax$/i)

  const session = await client.get('/session')
  t.equal(session.statusCode, 200)
  t.strictSame(session.json().session.username, 'Andrew')
  t.equal(session.json().session_id, view.session_id)
  t.notOk(session.headers['set-cookie'])
})

test('login: names and times', async t => {
  const client = await start(t)
  const login = async (form: Record<string, string>) => await client.post('/login', form)
  t.match((await login({})).json(), { session: { username: GUEST }, configured_ttl: 60 })
  t.match((await login({ username: '   ', ttl: '' })).json(), { session: { username: GUEST }, configured_ttl: 60 })
  t.match((await login({ username: '42' })).json(), { session: { username: '42' } }, 'stays a string')
  t.match((await login({ ttl: ' 7 ' })).json(), { configured_ttl: 7 })
  t.match((await login({ ttl: String(MAX_TTL) })).json(), { configured_ttl: MAX_TTL })
  t.equal((await login({ username: 'x'.repeat(40) })).statusCode, 200)
  t.equal((await login({ username: ` ${'x'.repeat(40)} ` })).statusCode, 200, 'counted after trimming')

  const before = client.cookie
  t.equal((await login({ username: 'x'.repeat(41) })).statusCode, 400)
  for (const ttl of ['0', '-1', '15.9', '10abc', 'abc', '1e3', '0x10', ' ', String(MAX_TTL + 1), '9'.repeat(400)]) {
    const answer = await login({ ttl })
    t.equal(answer.statusCode, 400, `ttl ${ttl.slice(0, 20)}`)
    t.type(answer.json().error, 'string')
    t.notOk(answer.headers['set-cookie'])
  }
  t.equal(client.cookie, before)
  t.match((await client.get('/session')).json(), { authenticated: true }, 'a refused login leaves the session alone')
})

test('login replaces the session the browser had', async t => {
  const client = await start(t)
  const first = (await client.post('/login', { username: 'first' })).json()
  await client.post('/field', { name: 'field01', value: 'planted' })
  const old = client.cookie
  const second = (await client.post('/login', { username: 'second' })).json()
  t.not(second.session_id, first.session_id)
  t.notOk('field01' in second.session)
  t.equal(await client.app.sessions.inspect(first.session_id), undefined, 'the old record is gone')
  client.cookie = old
  t.match((await client.post('/increment')).json(), { error: 'Session expired' })
})

test('bodies', async t => {
  const client = await start(t)
  const send = async (type: string, payload: string) => await client.app.inject({ method: 'POST', url: '/login', headers: { 'content-type': type }, payload })
  t.match((await send('application/json', '{"username":"Jo","ttl":9}')).json(), { session: { username: 'Jo' }, configured_ttl: 9 })
  t.match((await send('application/json', '{"ttl":"9"}')).json(), { session: { username: GUEST }, configured_ttl: 9 })
  for (const body of ['{"ttl":0}', '{"ttl":1.5}', '{"ttl":null}', '{"ttl":[3]}', '{"username":5}', '{"username":["x"]}', '{"username":', '']) {
    t.equal((await send('application/json', body)).statusCode, body === '{"ttl":null}' ? 200 : 400, body)
  }
  t.equal((await send('application/json', '[]')).statusCode, 200, 'no fields: the defaults')
  t.match((await send('application/x-www-form-urlencoded; charset=utf-8', 'username=J%C3%BCrg+M&ttl=8')).json(), { session: { username: 'Jürg M' } })
  t.match((await send('application/x-www-form-urlencoded', '__proto__=1&username=x')).json(), { session: { username: 'x' } })
  t.equal((await send('text/plain', 'username=x')).statusCode, 415)
  t.equal((await send('multipart/form-data; boundary=x', 'x')).statusCode, 415)
})

test('increment', async t => {
  const client = await start(t)
  await client.post('/login', { ttl: '20' })
  const answer = await client.post('/increment')
  t.equal(answer.statusCode, 200)
  t.strictSame(Object.keys(answer.json()).sort(), [...VIEW_KEYS, 'page_views'].sort())
  t.match(answer.json(), { page_views: 2, session: { page_views: '2' } })
  await Promise.all(Array.from({ length: 10 }, () => client.post('/increment')))
  t.match((await client.get('/session')).json(), { session: { page_views: '12' } }, 'none of ten at once is lost')
})

test('looking does not keep the session alive, using does', async t => {
  const client = await start(t)
  const id = (await client.post('/login', { ttl: '100' })).json().session_id
  const end = async (): Promise<number> => (await client.app.sessions.get(id))!.expiresAt.getTime()
  const wait = async (): Promise<void> => { await new Promise(resolve => setTimeout(resolve, 20)) }
  let known = await end()
  await wait()
  await client.get('/session')
  await client.get('/record')
  // The clock and the time left are whole milliseconds.
  t.ok(await end() < known + 5, 'looking')
  for (const path of ['/increment', '/', '/index.html']) {
    await wait()
    await (path === '/increment' ? client.post(path) : client.get(path))
    const extended = await end()
    t.ok(extended > known + 10, path)
    known = extended
  }
})

test('ttl', async t => {
  const client = await start(t)
  await client.post('/login', { ttl: '20' })
  const answer = await client.post('/ttl', { ttl: '500' })
  t.equal(answer.statusCode, 200)
  t.strictSame(Object.keys(answer.json()).sort(), VIEW_KEYS)
  t.match(answer.json(), { configured_ttl: 500, ttl: 500, session: { session_ttl: '500' } })
  t.match((await client.post('/ttl', { ttl: '5' })).json(), { configured_ttl: 5, ttl: 5 }, 'shorter counts at once')
  for (const ttl of ['0', '1.5', 'x', '']) t.equal((await client.post('/ttl', { ttl })).statusCode, 400, `ttl "${ttl}"`)
  t.equal((await client.post('/ttl')).statusCode, 400)
  t.match((await client.get('/session')).json(), { configured_ttl: 5 })
})

test('a session that expired', async t => {
  const client = await start(t)
  await client.post('/login', { ttl: '1' })
  const stale = client.cookie
  await new Promise(resolve => setTimeout(resolve, 1100))
  const page = await client.get('/')
  t.equal(page.statusCode, 200)
  t.match(page.body, 'data-session="null"')

  for (const url of ['/increment', '/ttl', '/rotate', '/field']) {
    client.cookie = stale
    const answer = await client.post(url, { ttl: '5' })
    t.equal(answer.statusCode, 401, url)
    t.strictSame(answer.json(), { error: 'Session expired' }, url)
    t.match(answer.headers['set-cookie'], /^session-id=;.*Max-Age=0/i, url)
    t.equal(client.cookie, undefined)
  }
  client.cookie = stale
  t.equal((await client.post('/ttl', { ttl: 'x' })).statusCode, 400)

  client.cookie = stale
  const session = await client.get('/session')
  t.equal(session.statusCode, 200)
  t.strictSame(session.json(), { authenticated: false, session: null })
  t.equal(client.cookie, undefined, 'the stale cookie is cleared')
  client.cookie = 'session-id=nonsense'
  t.match((await client.post('/increment')).json(), { error: 'Session expired' })
})

test('logout', async t => {
  const client = await start(t)
  const id = (await client.post('/login')).json().session_id
  const old = client.cookie
  const answer = await client.post('/logout')
  t.equal(answer.statusCode, 200)
  t.strictSame(answer.json(), { authenticated: false })
  t.equal(client.cookie, undefined)
  t.equal(await client.app.sessions.inspect(id), undefined)
  client.cookie = old
  t.match((await client.post('/increment')).json(), { error: 'Session expired' })
})

test('rotate', async t => {
  const client = await start(t)
  const before = (await client.post('/login', { username: 'x' })).json()
  const old = client.cookie
  const answer = await client.post('/rotate')
  t.equal(answer.statusCode, 200)
  const after = answer.json()
  t.equal(after.session_id, before.session_id)
  t.equal(after.session.username, 'x')
  t.match(after.fingerprint, { before: /^[\w-]{8}$/, after: /^[\w-]{8}$/ })
  t.not(after.fingerprint.before, after.fingerprint.after)
  t.not(client.cookie, old)
  const current = client.cookie
  t.match((await client.get('/session')).json(), { authenticated: true })

  // The old cookie opens nothing, but an answer to it must not clear the new one in the same browser.
  client.cookie = old
  const late = await client.post('/increment')
  t.equal(late.statusCode, 409)
  t.notOk(late.headers['set-cookie'])
  const look = await client.get('/session')
  t.strictSame(look.json(), { authenticated: false, session: null })
  t.notOk(look.headers['set-cookie'])
  client.cookie = current
  t.match((await client.post('/increment')).json(), { page_views: 2 })
})

test('the record', async t => {
  const client = await start(t)
  const id = (await client.post('/login', { username: 'andrew', ttl: '30' })).json().session_id
  const answer = await client.get('/record')
  t.equal(answer.statusCode, 200)
  const record = answer.json()
  t.strictSame(Object.keys(record).sort(), ['fields', 'key', 'store', 'text', 'ttl_ms'])
  t.equal(record.store, 'memory')
  t.equal(record.key, `session:${id}`)
  t.ok(record.ttl_ms > 29_000 && record.ttl_ms <= 30_000)
  t.match(record.fields, { username: 'andrew', page_views: '1', session_ttl: '30', created_at: /^\d+$/, '@digest': /^[\w-]{43}$/ })
  const secret = client.cookie?.split('.')[1] ?? ''
  t.equal(secret.length, 32)
  t.notOk(answer.body.includes(secret), 'only a hash of the secret is shown')
  await client.post('/field', { name: 'field07', value: 'late' })
  const names = Object.keys((await client.get('/record')).json().fields)
  t.strictSame(names.slice(0, 3).sort(), ['field07', 'page_views', 'username'], 'data before metadata')
  t.ok(names.slice(3).every(name => name.startsWith('@') || ['created_at', 'last_accessed_at', 'session_ttl'].includes(name)))
})

test('a record in the words of redis-cli', async t => {
  const fields = { created_at: '1', '@digest': 'd', name: 'J\u00fc "\\\n\t\u0007', last_accessed_at: '2', session_ttl: '3', a: '' }
  t.strictSame(Object.keys(dataFirst(fields)), ['name', 'a', 'created_at', '@digest', 'last_accessed_at', 'session_ttl'])
  t.equal(redisCliOutput({ key: 'session:x', ttl: 17, fields }), [
    '$ redis-cli HGETALL session:x',
    ' 1) "name"', String.raw` 2) "J\xc3\xbc \"\\\n\t\a"`, ' 3) "a"', ' 4) ""',
    ' 5) "created_at"', ' 6) "1"', ' 7) "@digest"', ' 8) "d"', ' 9) "last_accessed_at"', '10) "2"', '11) "session_ttl"', '12) "3"',
    '$ redis-cli PTTL session:x', '(integer) 17'
  ].join('\n'))
})

test('20 writes at once', async t => {
  const client = await start(t)
  await client.post('/login')
  const names = Array.from({ length: 20 }, (_, index) => `field${String(index + 1).padStart(2, '0')}`)
  const answers = await Promise.all(names.map(name => client.post('/field', { name, value: `of ${name}` })))
  for (const [index, answer] of answers.entries()) {
    t.equal(answer.statusCode, 200)
    t.strictSame(answer.json(), { name: names[index], value: `of ${names[index]}` })
  }
  const { fields } = (await client.get('/record')).json()
  for (const name of names) t.equal(fields[name], `of ${name}`)
  for (const form of [{}, { name: 'field01' }, { name: 'username', value: 'x' }, { name: 'field1', value: 'x' },
    { name: 'field00', value: 'x' }, { name: 'field21', value: 'x' }, { name: 'field99', value: 'x' }, { name: 'field01', value: 'x'.repeat(101) }]) {
    t.equal((await client.post('/field', form as Record<string, string>)).statusCode, 400, JSON.stringify(form).slice(0, 40))
  }
})

test('devices', async t => {
  const client = await start(t)
  const phone = new Client(client.app, 'Firefox/1 Android')
  const stranger = new Client(client.app)
  for (const url of ['/devices/end', '/devices/end-others']) t.equal((await client.post(url)).statusCode, 401, url)
  t.equal((await client.get('/devices')).statusCode, 401)

  const ids: string[] = []
  for (const [visitor, username] of [[client, '42'], [phone, '42'], [stranger, 'x']] as const) ids.push((await visitor.post('/login', { username })).json().session_id)
  const [own, other, foreign] = ids as [string, string, string]
  const { devices } = (await client.get('/devices')).json()
  t.equal(devices.length, 2)
  const deviceOf = (id: string): unknown => devices.find((device: { id: string }) => device.id === id)
  t.match(deviceOf(other), { device: 'Firefox on Android', network: '127.0.0.0/24', created_at: ISO, last_accessed_at: ISO, current: false })
  t.match(deviceOf(own), { device: 'curl', current: true })

  for (const [id, status] of [[foreign, 404], ['A'.repeat(22), 404], ['x', 404], ['', 404], [own, 400]] as const) {
    t.equal((await client.post('/devices/end', { id })).statusCode, status, id)
  }
  t.match((await stranger.get('/session')).json(), { authenticated: true }, 'nobody ends what is not theirs')
  t.match((await client.post('/devices/end', { id: other })).json(), { ended: 1, devices: [{ id: own }] })
  t.match((await phone.post('/increment')).json(), { error: 'Session expired' })

  await phone.post('/login', { username: '42' })
  t.match((await client.post('/devices/end-others')).json(), { ended: 1, devices: [{ id: own }] })
  t.match((await client.post('/devices/end-others')).json(), { ended: 0 })
  t.match((await phone.get('/session')).json(), { authenticated: false })
  t.match((await stranger.get('/session')).json(), { authenticated: true })
})

test('strangers without a name are not each other', async t => {
  const { app } = await start(t)
  const strangers = Array.from({ length: 5 }, () => new Client(app))
  const [one, two, ...others] = strangers as [Client, Client, ...Client[]]
  await Promise.all([
    one.post('/login'), two.post('/login', { username: ' ' }), ...others.map(stranger => stranger.post('/login', { username: '' }))
  ])
  for (const stranger of strangers) t.equal((await stranger.get('/devices')).json().devices.length, 1, 'a list of its own')
  const id = (await two.get('/session')).json().session_id
  t.equal((await one.post('/devices/end', { id })).statusCode, 404)
  t.match((await one.post('/devices/end-others')).json(), { ended: 0 })
  for (const stranger of strangers) t.match((await stranger.get('/session')).json(), { authenticated: true })

  const { username } = (await one.get('/session')).json().session
  await two.post('/login', { username })
  t.equal((await one.get('/devices')).json().devices.length, 2, 'who knows the name and gives it is the same user, as with every name')
})

test('the list of devices stays a page long, in the order of the logins', async t => {
  const { app } = await start(t)
  const clients = Array.from({ length: 52 }, () => new Client(app))
  const ids: string[] = []
  for (const client of clients) ids.push((await client.post('/login', { username: 'everybody' })).json().session_id)
  await clients[20]!.post('/increment')
  const { devices } = (await clients[51]!.get('/devices')).json()
  t.equal(devices.length, 50)
  t.ok(devices.every((device: { created_at: string }, index: number) => index === 0 || devices[index - 1].created_at <= device.created_at))
  t.match((await clients[0]!.post('/increment')).json(), { error: 'Session expired' }, 'the oldest had to go')
  t.match(await app.sessions.inspect(ids[51]!), { fields: { username: 'everybody' } })
})

/** How many sessions there are. */
async function countSessions (app: FastifyInstance): Promise<number> {
  let count = 0
  for await (const { id } of app.sessions.each()) if (id !== '') count++
  return count
}

test('one client cannot fill the store', async t => {
  const { app } = await start(t)
  const login = async (remoteAddress: string, username: string) => await app.inject({ method: 'POST', url: '/login', remoteAddress, payload: { username, ttl: MAX_TTL } })
  const neighbour = await login('198.51.100.1', 'neighbour')
  for (let round = 0; round < 25; round++) {
    await Promise.all(Array.from({ length: 10 }, async (_, index) => await login(`203.0.113.${index}`, `${round}-${index}`)))
  }
  t.equal(await countSessions(app), 201, '200 of whoever floods, and the neighbour')
  t.ok(await app.sessions.inspect(neighbour.json().session_id), 'whose session is nobody\'s to end')
  const last = await login('203.0.113.77', 'one more')
  t.equal(last.statusCode, 200, 'the next person from there gets in')
  t.ok(await app.sessions.inspect(last.json().session_id))
  t.equal(await countSessions(app), 201)
  t.equal((await login('203.0.113.77', 'x'.repeat(41))).statusCode, 400)
  t.equal(await countSessions(app), 201, 'a login that is refused takes no place')
  t.ok(MAX_TTL <= 86_400, 'and what is there has gone after a day, however busy')
})

test('the limit of a client', async t => {
  const client = await start(t, { maxSessionsPerClient: 2 })
  const tabs = [client, new Client(client.app), new Client(client.app)] as const
  for (const tab of tabs) await tab.post('/login')
  t.match((await tabs[0].post('/increment')).json(), { error: 'Session expired' })
  for (const tab of tabs.slice(1)) t.match((await tab.post('/increment')).json(), { page_views: 2 })

  const ended: string[] = []
  const limit = new ClientLimit({ end: async id => { ended.push(id); return true } }, 2)
  for (const [address, id] of [
    ['2001:db8:1:1::1', 'a'], ['2001:db8:1:2::1', 'b'], ['2001:db8:2::1', 'other household'], ['2001:db8:1:ffff::', 'c'],
    ['192.0.2.1', 'd'], ['::ffff:192.0.2.200', 'e'], ['192.0.3.1', 'other network'], ['192.0.2.3', 'f'],
    ['', 'g'], ['/run/demo.sock', 'h'], ['', 'i']
  ] as const) await limit.started(address, id)
  t.strictSame(ended, ['a', 'd', 'g'], 'a network is one client, in whatever form its addresses come')

  ended.length = 0
  await limit.started('198.51.100.1', 'first')
  for (let index = 0; index < 999; index++) await limit.started(`10.${index >> 8}.${index & 255}.1`, 'x')
  await limit.started('198.51.100.1', 'second')
  await limit.started('198.51.100.1', 'third')
  t.strictSame(ended, ['first'], 'a client is remembered beside 999 others')
  for (let index = 0; index < 1000; index++) await limit.started(`11.${index >> 8}.${index & 255}.1`, 'x')
  for (const id of ['fourth', 'fifth']) await limit.started('198.51.100.1', id)
  t.strictSame(ended, ['first'], 'and forgotten behind a thousand')
})

/** Where the page's forms go, and every other path that changes something. */
const POSTS = ['/login', '/increment', '/ttl', '/rotate', '/logout', '/field', '/devices/end', '/devices/end-others']

test('what a page of another site sends is refused', async t => {
  const client = await start(t)
  const posts = new Set<string>()
  for (const line of client.app.printRoutes({ commonPrefix: false }).split('\n')) if (line.includes('POST')) posts.add(line)
  t.equal(posts.size, POSTS.length, 'all paths are tried below')
  await client.post('/login', { username: 'ada' })
  const { cookie } = client
  const before = JSON.stringify(await client.app.sessions.inspect(cookie!.slice(11, 33)))
  for (const url of [...POSTS, '/nope']) {
    for (const headers of [
      { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site', origin: 'http://localhost:81' }, { origin: 'https://evil.test' }, { origin: 'null' },
      { accept: 'text/html', 'sec-fetch-site': 'cross-site', origin: 'null' }
    ] as Array<Record<string, string>>) {
      const answer = await client.send('POST', url, { ttl: '5', name: 'field01', value: 'x' }, headers)
      t.equal(answer.statusCode, 403, `${url} ${JSON.stringify(headers)}`)
      t.notOk(answer.headers['set-cookie'])
      if ('accept' in headers) t.match(answer.body, /^<!doctype html>[^]*A page of another site sent this/)
      else t.strictSame(answer.json(), { error: 'A page of another site sent this' })
    }
  }
  t.equal(client.cookie, cookie)
  const after = JSON.stringify(await client.app.sessions.inspect(cookie!.slice(11, 33)))
  t.equal(after.replace(/"ttl":\d+/, ''), before.replace(/"ttl":\d+/, ''), 'the session is as it was')

  for (const headers of [{}, { 'sec-fetch-site': 'same-origin', origin: 'null' }, { 'sec-fetch-site': 'none' },
    { origin: 'http://demo.test', host: 'demo.test' }, { origin: 'https://demo.test', host: 'demo.test' }]) {
    const answer = await client.send('POST', '/increment', {}, headers)
    t.equal(answer.statusCode, 200, JSON.stringify(headers))
  }
  t.equal((await client.send('GET', '/', undefined, { 'sec-fetch-site': 'cross-site' })).statusCode, 200, 'a link to the page may stand anywhere')
})

test('which requests come from another origin', async t => {
  const host = 'demo.test:8080'
  const is = (headers: Record<string, string>, method = 'POST'): boolean => isFromOtherOrigin({ method, headers: { host, ...headers } })
  for (const method of ['GET', 'HEAD', 'OPTIONS']) t.notOk(is({ 'sec-fetch-site': 'cross-site', origin: 'http://evil.test' }, method))
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'QUERY', 'post']) t.ok(is({ 'sec-fetch-site': 'cross-site' }, method))
  for (const headers of [{}, { origin: 'http://demo.test:8080' }, { origin: 'https://DEMO.test:8080' }, { host: 'DEMO.test', origin: 'https://demo.test' },
    { host: '[::1]:80', origin: 'https://[::1]:80' }, { 'sec-fetch-site': 'same-origin', origin: 'https://in.front.of.a.proxy.test' }] as Array<Record<string, string>>) {
    t.notOk(is(headers), JSON.stringify(headers))
  }
  for (const headers of [{ origin: 'http://demo.test' }, { origin: 'http://demo.test:8081' }, { origin: 'http://demo.test.evil.test:8080' }, { origin: 'http://demo.test:8080@evil.test' },
    { origin: '' }, { origin: 'demo.test:8080' }, { origin: 'http://demo.test:8080, http://evil.test' }, { host: '', origin: 'null' }, { host: '', origin: 'file:///' },
    { 'sec-fetch-site': '' }, { 'sec-fetch-site': 'Same-Origin' }, { 'sec-fetch-site': 'same-origin, cross-site' }] as Array<Record<string, string>>) {
    t.ok(is(headers), JSON.stringify(headers))
  }
  t.notOk(isFromOtherOrigin({ method: 'POST', headers: {} }))
  t.ok(isFromOtherOrigin({ method: 'POST', headers: { origin: 'http://demo.test' } }), 'an origin, and no host to compare it with')
})

test('a browser without scripts is answered in pages', async t => {
  const client = await start(t)
  const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
  const send = async (url: string, form: Record<string, string> = {}) => await client.send('POST', url, form, { accept })
  const page = async (): Promise<string> => (await client.get('/')).body
  const forms = async (): Promise<string[]> => Array.from((await page()).matchAll(/<form[^>]* method="post" action="([^"]+)"/g), ([, action]) => action ?? '')
  t.ok((await page()).match(/<form/g)?.length === (await forms()).length, 'every form says where it goes')
  t.strictSame([...new Set([...await forms(), '/field'])].sort(), [...POSTS].sort(), 'and every change has its form, but the one for many writes at once')

  const done = async (url: string, form?: Record<string, string>): Promise<void> => {
    const answer = await send(url, form)
    t.equal(answer.statusCode, 303, url)
    t.equal(answer.headers['location'], '/')
    t.equal(answer.body, '')
  }
  await done('/login', { username: '<b>Ada</b>', ttl: '50' })
  t.match(await page(), '<dd id="user">&#60;b&#62;Ada&#60;/b&#62;</dd>')
  await done('/increment')
  t.match(await page(), '<dd id="views">2</dd>')
  const before = client.cookie
  await done('/rotate')
  t.not(client.cookie, before)
  await done('/ttl', { ttl: '70' })
  t.match(await page(), '<dd id="configured">70 s</dd>')
  t.match(await page(), /<pre [^>]*>\$ redis-cli HGETALL session:[\w-]{22}\n +1\) &#34;username&#34;\n +2\) &#34;&#60;b&#62;Ada/)
  t.notMatch(await page(), /<div id="others" >/, 'there is nothing else to sign out')

  const phone = new Client(client.app, 'Firefox/1 Android')
  const id = (await phone.post('/login', { username: '<b>Ada</b>' })).json().session_id
  t.match(await page(), /<div id="others" >/)
  t.match(await page(), new RegExp(`<li data-id="${id}">\\n<p><strong>Firefox on Android</strong> <br>[^]*name="id" value="${id}"`))
  await done('/devices/end', { id })
  t.notMatch(await page(), id)
  await phone.post('/login', { username: '<b>Ada</b>' })
  await done('/devices/end-others')
  t.match((await phone.get('/session')).json(), { authenticated: false })

  const refused = async (status: number, url: string, form: Record<string, string> | undefined, words: RegExp): Promise<void> => {
    const answer = await send(url, form)
    t.equal(answer.statusCode, status, url)
    t.equal(answer.headers['content-type'], 'text/html; charset=utf-8')
    t.match(answer.body, words)
    t.match(answer.body, '<a href="/">')
    t.notMatch(answer.body, /<script/)
  }
  await refused(400, '/ttl', { ttl: '0' }, /ttl: a whole number/)
  await refused(400, '/login', { username: 'x'.repeat(41) }, /username: at most/)
  await refused(404, '/devices/end', { id }, /has ended already/)
  await refused(404, '/nope', {}, /Not found/)
  t.equal((await client.app.inject({ method: 'POST', url: '/login', headers: { accept, 'content-type': 'application/json' }, payload: '{' })).headers['content-type'], 'text/html; charset=utf-8')
  await done('/logout')
  t.equal(client.cookie, undefined)
  await refused(401, '/increment', {}, /No active session/)
  client.cookie = before
  await refused(401, '/rotate', {}, /Session expired/)

  t.match((await client.send('GET', '/session', undefined, { accept })).json(), { authenticated: false }, 'who asks for JSON by its path gets it')
  t.match((await client.send('POST', '/login', {}, { accept: '*/*' })).json(), { authenticated: true }, 'who takes anything gets JSON')
})

/** Reads the events of a stream one by one. */
async function * eventsOf (response: Response): AsyncGenerator<{ event: string, data: string }> {
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const events = text.split('\n\n')
    text = events.pop()!
    for (const event of events) yield /^event: (?<event>.*)\ndata: (?<data>.*)$/.exec(event)!.groups as { event: string, data: string }
  }
}

test('a stream of what happens to the devices', async t => {
  const client = await start(t)
  const address = await client.app.listen({ port: 0, host: '127.0.0.1' })
  const listen = async (): Promise<Response> => await fetch(`${address}/events`, { headers: { cookie: client.cookie ?? '' } })
  t.equal((await listen()).status, 204, 'a browser does not ask again')

  const own = (await client.post('/login', { username: 'ada', ttl: '100' })).json().session_id
  const response = await listen()
  t.equal(response.headers.get('content-type'), 'text/event-stream')
  const events = eventsOf(response)
  const next = async (): Promise<{ event: string, data: unknown }> => {
    const { event, data } = (await events.next()).value as { event: string, data: string }
    return { event, data: event === 'devices' ? JSON.parse(data) : data }
  }
  t.match(await next(), { event: 'devices', data: [{ id: own, current: true }] })
  const phone = new Client(client.app)
  await phone.post('/login', { username: 'ada' })
  const { data } = await next()
  t.equal((data as object[]).length, 2, 'somebody came')
  await phone.post('/devices/end', { id: own })
  let last = await next()
  while (last.event === 'devices') last = await next()
  t.strictSame(last, { event: 'ended', data: 'ended' })
  t.strictSame(await events.next(), { done: true, value: undefined }, 'and the stream is over')

  client.cookie = phone.cookie
  const open = eventsOf(await listen())
  await open.next()
  const begin = performance.now()
  await client.app.close()
  t.ok(performance.now() - begin < 10_000, 'a server that closes waits for nobody who listens')
  await t.resolves(open.next())
})

test('a stream that nobody listens to any more does not go on looking', async t => {
  const client = await start(t)
  const address = await client.app.listen({ port: 0, host: '127.0.0.1' })
  await client.post('/login')
  const { sessions } = client.app
  const list = sessions.list.bind(sessions)
  let looks = 0
  sessions.list = async (...args) => { looks++; return await list(...args) }
  const listener = new AbortController()
  const events = eventsOf(await fetch(`${address}/events`, { headers: { cookie: client.cookie ?? '' }, signal: listener.signal }))
  await events.next()
  await until('it looks again', 5000, () => looks > 2)
  listener.abort()
  await t.rejects(events.next())
  // Three times as long as between two looks without one.
  await until('no more looks', 10_000, async () => {
    const before = looks
    await new Promise(resolve => setTimeout(resolve, 1500))
    return looks === before
  })
})

test('everything else is not found', async t => {
  const client = await start(t)
  for (const [method, url] of [['GET', '/nope'], ['GET', '/login'], ['POST', '/'], ['POST', '/session'], ['GET', '/logout'], ['DELETE', '/session']] as const) {
    const answer = await client.send(method, url)
    t.equal(answer.statusCode, 404, `${method} ${url}`)
    t.strictSame(answer.json(), { error: 'Not found' })
  }
})

test('security headers', async t => {
  const client = await start(t)
  for (const url of ['/', '/session', '/nope']) {
    const { headers } = await client.get(url)
    t.equal(headers['x-content-type-options'], 'nosniff')
    t.equal(headers['referrer-policy'], 'same-origin')
    t.equal(headers['cache-control'], 'no-store')
    t.match(headers['content-security-policy'], /^default-src 'none'; /)
    t.notMatch(headers['content-security-policy'], /unsafe|\*|http/)
  }
})

test('the page', async t => {
  const client = await start(t)
  const response = await client.get('/')
  t.equal(response.headers['content-type'], 'text/html; charset=utf-8')
  t.equal((await client.get('/index.html')).body, response.body)
  t.match(response.body, /name="ttl"[^>]*value="15"/)
  t.match(response.body, /name="username"[^>]*maxlength="40"/)

  const policy = String(response.headers['content-security-policy'])
  for (const tag of ['script', 'style']) {
    const texts = Array.from(response.body.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs')), ([, text]) => text ?? '')
    t.equal(texts.length, 1, `one ${tag}`)
    t.ok(policy.includes(`${tag}-src 'sha256-${createHash('sha256').update(texts[0] ?? '').digest('base64')}'`), `${tag} is allowed`)
    if (tag === 'script') t.doesNotThrow(() => new Script(texts[0] ?? ''), 'the script can be parsed')
  }
  t.notMatch(response.body, /innerHTML|https?:|\son\w+=|\sstyle=/i, 'no external resources, no inline handlers or styles')
  const ids = Array.from(response.body.matchAll(/\sid="([^"]+)"/g), ([, id]) => id)
  t.equal(new Set(ids).size, ids.length, 'ids are unique')
  for (const [, id] of response.body.matchAll(/(?:byId\('|for="|aria-labelledby=")([\w-]+)/g)) t.ok(ids.includes(id), `there is an element ${id}`)
})

test('what came from people is escaped', async t => {
  t.equal(escapeHtml('<a href="x" id=\'y\'>&</a>'), '&#60;a href=&#34;x&#34; id=&#39;y&#39;&#62;&#38;&#60;/a&#62;')
  const client = await start(t)
  const username = '"\'></script><img src=x onerror=a()>&amp;'
  t.match((await client.post('/login', { username })).json(), { session: { username } })
  const { body } = await client.get('/')
  t.notMatch(body, '<img')
  t.ok(body.includes(`<dd id="user">${escapeHtml(username)}</dd>`))
  const state = /data-session="([^"]*)"/.exec(body)?.[1] ?? ''
  const parsed = JSON.parse(state.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code))))
  t.equal(parsed.session.username, username)
})

test('options', async t => {
  const client = await start(t, { ttl: 33, cookieName: 'sid' })
  t.match((await client.get('/')).body, /name="ttl"[^>]*value="33"/)
  const login = await client.post('/login')
  t.match(login.json(), { configured_ttl: 33 })
  t.match(login.headers['set-cookie'], /^sid=/)
  t.equal((await client.post('/increment')).statusCode, 200)
  client.cookie = 'session-id=x'
  t.match((await client.post('/increment')).json(), { error: 'No active session' }, 'another cookie is none')

  const secure = await start(t, { secureCookie: true })
  t.match((await secure.post('/login')).headers['set-cookie'], /^__Host-session-id=.*; Secure/i)
  t.equal((await secure.post('/increment')).statusCode, 200)
  await t.rejects(start(t, { secret: 'short' }), { code: 'SESSION_OPTION_INVALID' })
})

test('flags', async t => {
  t.strictSame(readFlags([]), { port: 8080, host: '127.0.0.1', redis: undefined, ttl: undefined })
  t.strictSame(readFlags(['--port', '0', '--host=::1', '--redis', 'redis://r', '--ttl', '9']), { port: 0, host: '::1', redis: 'redis://r', ttl: 9 })
  for (const args of [['--ttl', '0'], ['--ttl', '1.5'], ['--ttl=-1'], ['--ttl', ''], ['--port', '65536'], ['--port', 'x'], ['--port'],
    ['--host', ''], ['--redis', ''], ['--what'], ['extra'], ['--ttl', String(MAX_TTL + 1)]]) {
    t.throws(() => readFlags(args), { message: /^demo: [^\n]+$/ }, args.join(' '))
  }
})

test('flags and environment', async t => {
  const none = readFlags([])
  const bare = demoOptions(none, {})
  t.match(bare, { redis: 'memory:', secureCookie: false })
  t.ok((bare.secret ?? '').length >= 32)
  t.not(bare.secret, demoOptions(none, {}).secret, 'random each time')
  const set = demoOptions(none, { SESSION_REDIS: 'redis://env', SESSION_SECRET: SECRET, SESSION_COOKIE_SECURE: 'true', SESSION_COOKIE_ID: 'sid' })
  t.match(set, { redis: 'redis://env', cookieName: 'sid' })
  t.match(demoOptions(none, { SESSION_COOKIE_NAME: 'sid' }), { cookieName: 'sid' })
  t.equal(set.secret, undefined)
  t.equal(set.secureCookie, undefined)
  t.equal(demoOptions(readFlags(['--redis', 'redis://flag']), { SESSION_REDIS: 'redis://env' }).redis, 'redis://flag')
  t.equal(demoOptions(none, { SESSION_REDIS: '' }).redis, 'memory:')
})

// --- The real command ---------------------------------------------------------------------------------------------

/** One run of the program, which ends with the test. */
function run (t: Test, args: string[], env?: NodeJS.ProcessEnv): CliProcess {
  const cli = new CliProcess(args, env)
  t.teardown(() => { cli.kill() })
  return cli
}

test('the command explains itself', async t => {
  const help = run(t, ['--help'])
  t.equal(await help.ended(), 0)
  t.match(help.out, /Usage: [^]*demo/)
  const demoHelp = run(t, ['demo', '-h'])
  t.equal(await demoHelp.ended(), 0)
  for (const flag of ['--port', '--host', '--redis', '--ttl']) t.match(demoHelp.out, flag)
  t.equal(demoHelp.err, '')
})

test('a wrong command line ends with 2', async t => {
  await Promise.all([[], ['dance'], ['--port', '1'], ['demo', '--dance'], ['demo', '--ttl', '0'], ['demo', 'extra']].map(async args => {
    const cli = run(t, args)
    t.equal(await cli.ended(), 2, args.join(' '))
    t.match(cli.err, /^fastify-live-session: [^\n]+\nTry [^\n]+\n$/, args.join(' '))
    t.equal(cli.out, '')
  }))
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`serves until ${signal}`, async t => {
    const cli = run(t, ['demo', '--port', '0'])
    const url = await cli.url()
    t.match(cli.out, /^SESSION_SECRET is not set[^\n]*\n/)
    t.equal((await fetch(url)).status, 200)
    const login = await fetch(`${url}/login`, { method: 'POST', body: new URLSearchParams({ username: 'x' }) })
    t.match(await login.json(), { authenticated: true, configured_ttl: 60 })
    const ended = cli.ended()
    cli.child.kill(signal)
    t.equal(await ended, 0)
    t.equal(cli.err, '')
  })
}

test('a secret from the environment is used, a bad one refused', async t => {
  const good = run(t, ['demo', '--port', '0'], { SESSION_SECRET: SECRET })
  await good.url()
  t.notMatch(good.out, 'SESSION_SECRET')
  good.child.kill('SIGTERM')
  const bad = run(t, ['demo', '--port', '0'], { SESSION_SECRET: 'hunter2' })
  t.equal(await bad.ended(), 1)
  t.match(bad.err, /^fastify-live-session: [^\n]*SESSION_SECRET[^\n]*\n$/)
  t.notMatch(bad.err, 'hunter2')
})

test('a port that is taken', async t => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const cli = run(t, ['demo', '--port', String(port)])
  t.equal(await cli.ended(), 1)
  t.match(cli.err, new RegExp(`^fastify-live-session: port ${port} [^\\n]*\\n$`))
})

test('Redis that is not there, and what is none: named once, without what is secret', async t => {
  await Promise.all([
    ['redis://me:hun@ter2@127.0.0.1:1', /^fastify-live-session: Redis could not be reached [^\n]*127\.0\.0\.1:1\n$/],
    ['redis://:hunter2', /^fastify-live-session: --redis: [^\n]+\n$/],
    ['hunter2', /^fastify-live-session: --redis: expected redis:[^\n]+\n$/]
  ].map(async ([url, message]) => {
    const cli = run(t, ['demo', '--port', '0', '--redis', url as string])
    t.equal(await cli.ended(), 1)
    t.match(cli.err, message)
    t.notMatch(cli.err, /hun|ter2|redis:\/\/[^\n]*127|127\S*:1\b[^]*127\S*:1\b/)
    t.equal(cli.out, '')
  }))
})

test('the store is named without what is secret', async t => {
  const redis = await startRedis({ config: 'user me on >pass@word ~* &* +@all' })
  t.teardown(() => redis.stop())
  for (const [more, name] of [['', `${redis.host}:${redis.port}/2`], ['?username=me&password=pass@word', 'SESSION_REDIS']] as const) {
    const cli = run(t, ['demo', '--port', '0'], { SESSION_REDIS: `redis://me:pass%40word@${redis.host}:${redis.port}/2${more}` })
    await cli.url()
    t.match(cli.out, new RegExp(`^Sessions are kept in (?:redis://)?${name}\\.$`, 'm'))
    t.notMatch(cli.out, 'word')
    cli.child.kill('SIGTERM')
  }
})
