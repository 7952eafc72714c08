/** Plugins that insist on '@fastify/session' as a dependency: the README's few lines satisfy them. */
import Fastify from 'fastify'
import fp from 'fastify-plugin'
import { test } from 'tap'
import sessionPlugin from '../../src/index.js'
import { SECRET } from '../support/app.js'
import { Browser } from '../support/browser.js'

const insisting = fp(async (app) => {
  app.get('/', async ({ session }: any) => { session.visits = (session.visits ?? 0) + 1; return { visits: session.visits } })
}, { name: 'insisting', dependencies: ['@fastify/session'], decorators: { request: ['session'] } })

const options = { secret: SECRET, redis: 'memory:', cookie: { secure: false } }

test('under its own name alone, such a plugin refuses to boot', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionPlugin, options)
  await t.rejects(async () => { await app.register(insisting) }, { code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED' })
})

test('a plugin of that name, which does nothing but depend on this one', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionPlugin, options)
  await app.register(fp(async () => {}, { name: '@fastify/session', dependencies: ['fastify-live-session'] }))
  await app.register(insisting)
  const browser = new Browser(app)
  t.strictSame([await browser.json('/'), await browser.json('/')], [{ visits: 1 }, { visits: 2 }])
})
