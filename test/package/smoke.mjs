/**
 * A session's life with the installed package, as an ESM program: `node smoke.mjs`. It ends with an error where anything is
 * not as it should be.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import sessionPlugin, { errors, MemoryStore, RedisStore, sessionPlugin as named } from 'fastify-live-session'

assert.equal(named, sessionPlugin)
assert.equal(typeof RedisStore, 'function')
const app = Fastify()
await app.register(sessionPlugin, { secret: randomBytes(32).toString('hex'), redis: new MemoryStore() })
app.get('/', async ({ session }) => {
  session.visits = (session.visits ?? 0) + 1
  return { visits: session.visits, clicks: await session.live.clicks.incr() }
})
app.get('/rotate', async ({ session }) => { await session.rotate(); return session.data() })
app.get('/logout', async ({ session }) => { await session.destroy(); return session.data() })
app.get('/wrong', async ({ session }) => { session.id = 'x' })

let cookie = ''
async function visit (url) {
  const { headers, body, statusCode } = await app.inject({ url, headers: { cookie } })
  if (headers['set-cookie'] !== undefined) {
    assert.match(headers['set-cookie'], /^__Host-session-id=[^;]*; .*Secure/)
    cookie = headers['set-cookie'].split(';')[0]
  }
  return statusCode === 200 ? JSON.parse(body) : JSON.parse(body).code
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
const { body } = await app.inject({ url: '/', headers: await app.sessions.issue({ visits: 5 }) })
assert.equal(JSON.parse(body).visits, 6)
await app.close()
console.log(`ESM works on ${process.version}`)
