/**
 * A session's life with the installed package, over http, as an ESM program: `node smoke.mjs`, or with another runtime. Sessions
 * are kept in memory, and then in the Redis that REDIS_URL names. It ends with an error where anything is not as it should be.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import Fastify from 'fastify'
import sessionPlugin, { errors, MemoryStore, RedisStore, sessionPlugin as named } from 'fastify-live-session'

assert.equal(named, sessionPlugin)
assert.equal(typeof RedisStore, 'function')
assert.ok(process.env.REDIS_URL, 'REDIS_URL has to name a Redis')
for (const redis of ['memory:', new MemoryStore(), process.env.REDIS_URL]) await live(redis)
const { bun, deno, node } = process.versions
console.log(`ESM works on ${bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node.js ${node}`}, in memory and in Redis`)

async function live (redis) {
  const app = Fastify()
  let arrive
  const arrived = new Promise((resolve) => { arrive = resolve })
  await app.register(sessionPlugin, { secret: randomBytes(32).toString('hex'), redis, userField: 'user', timeout: 5000 })
  app.get('/', async ({ session }) => {
    session.visits = (session.visits ?? 0) + 1
    return { visits: session.visits, clicks: await session.live.clicks.incr() }
  })
  app.get('/login', async ({ session }) => { await session.regenerate(); session.user = 'ann'; session.cart = []; return {} })
  app.get('/cart', async ({ session }) => { session.cart.push({ id: session.cart.length }); return session.cart })
  app.get('/rotate', async ({ session }) => { await session.rotate(); return session.data() })
  app.get('/logout', async ({ session }) => { await session.destroy(); return session.data() })
  app.get('/wrong', async ({ session }) => { session.id = 'x' })
  app.get('/stream', async ({ session }, reply) => { session.sent = 'stream'; return reply.send(Readable.from(['"str', 'eam"'])) })
  app.get('/response', async ({ session }) => { session.sent = 'response'; return new Response('"response"') })
  app.get('/hijacked', async ({ session }, reply) => {
    session.sent = 'hijacked'
    reply.hijack()
    await session.save()
    reply.raw.end('"hijacked"')
  })
  app.get('/until-ended', async ({ session: { signal } }) => {
    await new Promise((resolve) => {
      signal.addEventListener('abort', resolve)
      arrive()
    })
    return { reason: signal.reason.reason }
  })
  app.get('/data', async ({ session }) => session.data())

  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  let cookie = ''
  const visit = async (path) => {
    const response = await fetch(address + path, { headers: { cookie, connection: 'close' } })
    const [line] = response.headers.getSetCookie()
    if (line !== undefined) {
      assert.match(line, /^__Host-session-id=[^;]*; .*Secure/)
      cookie = line.split(';')[0]
    }
    const text = await response.text()
    const body = text === '' ? undefined : JSON.parse(text)
    return response.ok ? body : body.code
  }

  assert.deepEqual(await visit('/'), { visits: 1, clicks: 1 })
  const before = cookie
  assert.deepEqual(await visit('/'), { visits: 2, clicks: 2 })
  assert.deepEqual(await visit('/rotate'), { visits: 2, clicks: 2 })
  assert.notEqual(cookie, before)
  assert.equal(await visit('/wrong'), new errors.ReservedPropertyError('id', 'id').code)
  assert.deepEqual(await visit('/logout'), {})
  cookie = before
  assert.deepEqual(await visit('/'), { visits: 1, clicks: 1 })

  await visit('/login')
  assert.deepEqual(await visit('/cart'), [{ id: 0 }])
  assert.deepEqual(await visit('/cart'), [{ id: 0 }, { id: 1 }])
  for (const sent of ['stream', 'response', 'hijacked']) {
    assert.equal(await visit(`/${sent}`), sent)
    assert.deepEqual(await visit('/data'), { user: 'ann', cart: [{ id: 0 }, { id: 1 }], sent })
  }

  const [{ id }, ...others] = await app.sessions.list('ann')
  assert.deepEqual(others, [])
  const reason = visit('/until-ended')
  await arrived
  assert.equal(await app.sessions.end(id), true)
  assert.deepEqual(await reason, { reason: 'ended' })
  assert.deepEqual(await visit('/data'), {})

  const { body } = await app.inject({ url: '/', headers: await app.sessions.issue({ visits: 5 }) })
  assert.equal(JSON.parse(body).visits, 6)
  await app.close()
}
