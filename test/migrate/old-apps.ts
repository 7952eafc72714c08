/**
 * Apps on other session libraries, the real ones, which write the sessions that are then moved.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import fastifyCookie from '@fastify/cookie'
import Fastify from 'fastify'
import type { Test } from 'tap'
import type { MigrateFrom } from '../../src/migrate/options.js'
import type { RedisProcess } from '../support/redis-process.js'

export const OLD_SECRET = 'the old secret of the tests 5e0a9c'

/** How an old app is set up. */
export interface OldOptions {
  secret?: string
  prefix?: string
  /** Milliseconds; absent: a cookie that ends with the browser. */
  maxAge?: number | undefined
  path?: string
  /** The option `key` of @mgcrea/fastify-session, base64. */
  key?: string
}

/** An old app. `POST /` stores the JSON object of the body in the session, `GET /` answers it, `DELETE /` ends it. */
export interface OldApp {
  send: (method: 'GET' | 'POST' | 'DELETE', cookie?: string, data?: object) => Promise<{ status: number, cookie: string | undefined, body: any }>
  /** Logs in: the Cookie header of a session with these data. */
  cookieFor: (data: object) => Promise<string>
}

/** One library with one store. */
export interface OldSystem {
  name: string
  format: MigrateFrom['format']
  cookieName: string
  start: (t: Test, redis: RedisProcess, options?: OldOptions) => Promise<OldApp>
}

/** Untyped on purpose: the libraries' types declare `request.session` too, and two declarations do not go together. */
async function load (name: string): Promise<any> {
  return await import(name)
}

async function connectRedisStore (t: Test, redis: RedisProcess, prefix: string): Promise<unknown> {
  const { createClient } = await load('redis')
  const { RedisStore } = await load('connect-redis')
  const client = createClient({ url: redis.url })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => { client.destroy() })
  return new RedisStore({ client, prefix })
}

function appAt (url: string): OldApp {
  const send: OldApp['send'] = async (method, cookie = '', data) => {
    const response = await fetch(url, { method, headers: { cookie, ...data !== undefined && { 'content-type': 'application/json' } }, ...data !== undefined && { body: JSON.stringify(data) } })
    return { status: response.status, cookie: response.headers.getSetCookie().at(-1)?.split(';')[0], body: await response.json() }
  }
  return { send, cookieFor: async (data) => (await send('POST', '', data)).cookie! }
}

async function startExpress (t: Test, redis: RedisProcess, { secret = OLD_SECRET, prefix = 'sess:', maxAge, path }: OldOptions = {}): Promise<OldApp> {
  const { default: session } = await load('express-session')
  const store = await connectRedisStore(t, redis, prefix)
  const middleware = session({ store, secret, resave: false, saveUninitialized: false, cookie: { ...maxAge !== undefined && { maxAge }, ...path !== undefined && { path } } })
  const handle = async (request: IncomingMessage & { session?: any }, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    middleware(request, response, (error?: Error) => {
      if (error !== undefined) {
        response.statusCode = 500
        response.end(JSON.stringify({ error: error.message }))
        return
      }
      if (request.method === 'POST') Object.assign(request.session, JSON.parse(String(Buffer.concat(chunks))))
      const answer = (): void => { response.end(JSON.stringify(request.session ?? {})) }
      if (request.method === 'DELETE') request.session.destroy(answer)
      else answer()
    })
  }
  const server = createServer((request, response) => { handle(request, response).catch((error: unknown) => { throw error }) }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close(); server.closeAllConnections() })
  return appAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path ?? '/'}`)
}

async function startFastify (t: Test, url: string, register: (app: any) => Promise<unknown>): Promise<OldApp> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  await register(app)
  const dataOf = ({ session }: any): object => typeof session.data === 'object' ? session.data : JSON.parse(JSON.stringify(session))
  app.get(url, async (request) => dataOf(request))
  app.post(url, async (request: any) => {
    for (const [key, value] of Object.entries(request.body)) request.session.set(key, value)
    return dataOf(request)
  })
  app.delete(url, async (request: any) => { await request.session.destroy(); return {} })
  return appAt(await app.listen({ port: 0, host: '127.0.0.1' }) + url)
}

async function startFastifySession (t: Test, redis: RedisProcess, { secret = OLD_SECRET, prefix = 'sess:', maxAge, path = '/' }: OldOptions = {}): Promise<OldApp> {
  const store = await connectRedisStore(t, redis, prefix)
  const { default: plugin } = await load('@fastify/session')
  return await startFastify(t, path, async (app) => {
    await app.register(plugin, { store, secret, saveUninitialized: false, cookie: { secure: false, path, ...maxAge !== undefined && { maxAge } } })
  })
}

function startMgcrea (store: string) {
  return async (t: Test, redis: RedisProcess, { secret = OLD_SECRET, prefix = 'sess:', maxAge, path = '/', key }: OldOptions = {}): Promise<OldApp> => {
    const { RedisStore } = await load(store)
    const { default: plugin } = await load('@mgcrea/fastify-session')
    return await startFastify(t, path, async (app) => {
      await app.register(plugin, {
        ...key === undefined ? { secret } : { key },
        store: new RedisStore({ client: redis.client(), prefix, ttl: 86400 }),
        saveUninitialized: false,
        cookie: { secure: false, path, ...maxAge !== undefined && { maxAge: maxAge / 1000 } }
      })
    })
  }
}

export const express: OldSystem = { name: 'express-session, connect-redis', format: 'express-session', cookieName: 'connect.sid', start: startExpress }
export const fastifySession: OldSystem = { name: '@fastify/session, connect-redis', format: '@fastify/session', cookieName: 'sessionId', start: startFastifySession }
export const mgcreaHash: OldSystem = { name: '@mgcrea/fastify-session and its store', format: '@mgcrea/fastify-session', cookieName: 'Session', start: startMgcrea('@mgcrea/fastify-session-redis-store') }
export const mgcreaArray: OldSystem = { name: '@mgcrea/fastify-session, fastify-redis-session', format: '@mgcrea/fastify-session', cookieName: 'Session', start: startMgcrea('fastify-redis-session') }

export const oldSystems = [express, fastifySession, mgcreaHash, mgcreaArray]
