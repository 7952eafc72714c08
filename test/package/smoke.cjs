/**
 * The installed package in a CommonJS program: `node smoke.cjs`, or with another runtime. `require` gives what `import *` gives.
 * Sessions are kept in memory, and then in the Redis that REDIS_URL names.
 */
'use strict'
const assert = require('node:assert/strict')
const { randomBytes } = require('node:crypto')
const Fastify = require('fastify')
const { default: sessionPlugin, MemoryStore, errors } = require('fastify-live-session')

async function main () {
  const secret = randomBytes(32).toString('hex')
  assert.ok(process.env.REDIS_URL, 'REDIS_URL has to name a Redis')
  for (const register of [
    (app) => app.register(require('fastify-live-session'), { secret, redis: 'memory:' }),
    (app) => app.register(sessionPlugin, { secret, redis: new MemoryStore() }),
    (app) => app.register(sessionPlugin, { secret, redis: process.env.REDIS_URL, timeout: 5000 })
  ]) {
    const app = Fastify()
    register(app)
    app.get('/', async ({ session }) => { session.visits = (session.visits ?? 0) + 1; return session.data() })
    const { headers } = await app.inject('/')
    const { body } = await app.inject({ url: '/', headers: { cookie: headers['set-cookie'].split(';')[0] } })
    assert.equal(body, '{"visits":2}')
    await app.close()
  }
  await assert.rejects(async () => { await Fastify().register(sessionPlugin, { secret: 'short' }) }, errors.OptionError)
  const { bun, deno, node } = process.versions
  console.log(`CommonJS works on ${bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node.js ${node}`}, in memory and in Redis`)
}

main()
