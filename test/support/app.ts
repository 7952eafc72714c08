/**
 * Apps under test, on every store.
 */
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import tap, { type Test } from 'tap'
import sessionPlugin, { type SessionOptions } from '../../src/index.js'
import { startRedis, type RedisProcess } from './redis-process.js'

export const SECRET = 'a secret of the tests 8f1c0d7e5b2a'

/** Log lines of an app, parsed. */
export type Lines = Array<{ level: number, msg: string } & Record<string, unknown>>

/** Options of an app under test. */
export interface AppOptions extends SessionOptions {
  /** Gets every log line. */
  lines?: Lines
  server?: FastifyServerOptions
}

/** Milliseconds for a command of Redis: on a busy machine the default of a server is not to be had. Tests about time set their own. */
const TIMEOUT = 2000

/**
 * An app with the plugin, closed when the test ends. Plain http, so cookie.secure is off unless asked for.
 *
 * @param routes adds routes before the app is ready
 */
export async function makeApp (t: Test, { lines, server, ...options }: AppOptions, routes?: (app: FastifyInstance) => void): Promise<FastifyInstance> {
  const stream = { write: (line: string) => { lines?.push(JSON.parse(line)) } }
  const app = Fastify({ ...(lines !== undefined && { logger: { level: 'trace', stream } }), ...server })
  t.teardown(() => app.close())
  await app.register(sessionPlugin, { secret: SECRET, timeout: TIMEOUT, ...options, cookie: { secure: false, ...options.cookie } })
  routes?.(app)
  await app.ready()
  return app
}

/** Where sessions may live, for tests that hold for every store. */
export interface Place { name: string, redis: string }

let server: Promise<RedisProcess> | undefined
tap.teardown(async () => { await (await server)?.stop() })

/**
 * Runs a test on sessions in memory and on sessions in a real Redis, which the tests of one file share.
 */
export async function onEveryStore (t: Test, run: (t: Test, place: Place) => Promise<void>): Promise<void> {
  await t.test('in memory', async (t) => { await run(t, { name: 'memory', redis: 'memory:' }) })
  await t.test('in Redis', async (t) => { await run(t, { name: 'redis', redis: (await sharedRedis()).url }) })
}

/** The Redis that the tests of one file share; it ends with them. */
export async function sharedRedis (): Promise<RedisProcess> {
  server ??= startRedis()
  return await server
}
