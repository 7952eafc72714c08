/** The application on each of the libraries, set up as their guides do, with their defaults but for `Secure`. */
import cookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import type { AddressInfo } from 'node:net'
import sessionPlugin from '../../../src/index.js'
import { storeOn } from '../contenders/fastify-session.js'
import { listen } from '../contenders/listen.js'
import { rival } from '../contenders/rivals.js'
import { SECRET, TTL } from '../data.js'
import { ACTIONS, type Handle } from './application.js'
import { Gate } from './gate.js'

/** The application while it runs. */
export interface App {
  url: string
  gate: Gate
  close: () => Promise<void>
}

/** How the application is started. */
export interface Setting {
  redis: string
  /** Milliseconds that the Redis client waits for an answer; undefined: its default, which is for ever. */
  patience?: number
}

/** One library, with the store that its users take. */
export interface Library {
  label: string
  /** The packages whose versions the report states. */
  packages: readonly string[]
  /** What it has of what is compared. */
  redis: boolean
  regenerates: boolean
  increments: boolean
  start: (setting: Setting) => Promise<App>
}

/** A session whose data are properties, or reached by `get` and `set`. */
interface AnySession {
  [field: string]: unknown
  get: (field: string) => unknown
  set: (field: string, value: unknown) => void
  regenerate: () => Promise<void>
  destroy: () => Promise<void>
  delete: () => void
  live: Record<string, { incr: () => Promise<number> }>
}

const COOKIE = { secure: false, httpOnly: true, sameSite: 'lax', path: '/' } as const

/** The session of a request, asked for anew each time, because some libraries replace it. Only a cast. */
function sessionOf (request: object): AnySession {
  return (request as { session: AnySession }).session
}

/** Data as properties. */
function byProperty (request: object): Pick<Handle, 'get' | 'set'> {
  return {
    get: field => sessionOf(request)[field],
    set: (field, value) => { sessionOf(request)[field] = value }
  }
}

/** Data by `get` and `set`. */
function byMethod (request: object): Pick<Handle, 'get' | 'set'> {
  return {
    get: field => sessionOf(request).get(field),
    set: (field, value) => { sessionOf(request).set(field, value) }
  }
}

/** The application's routes on Fastify. */
async function serve (app: FastifyInstance, handleOf: (request: FastifyRequest) => Handle, clients: Redis[]): Promise<App> {
  const gate = new Gate()
  for (const [name, action] of Object.entries(ACTIONS)) {
    app.get<{ Querystring: { field: string } }>(`/${name}`, async (request, reply) => {
      reply.type('application/json')
      return JSON.stringify(await action(handleOf(request), gate, request.query.field))
    })
  }
  const port = await listen(app)
  const close = async (): Promise<void> => {
    for (const client of clients) client.disconnect()
    app.server.closeAllConnections()
    await app.close()
  }
  return { url: `http://127.0.0.1:${port}`, gate, close }
}

/** A client as it is by default, but for how long it waits where that is to be tried. */
function ioredis ({ redis, patience }: Setting): Redis {
  const client = new Redis(redis, patience === undefined ? {} : { commandTimeout: patience })
  client.on('error', () => {})
  return client
}

async function startLive ({ redis }: Setting): Promise<App> {
  const app = Fastify()
  await app.register(sessionPlugin, { secret: SECRET, redis, idleTimeout: TTL, cookie: { secure: false } })
  return await serve(app, request => ({
    ...byProperty(request),
    regenerate: async () => { await sessionOf(request).regenerate() },
    increment: async field => { await sessionOf(request).live[field]?.incr() },
    destroy: async () => { await sessionOf(request).destroy() }
  }), [])
}

async function startFastifySession (setting: Setting): Promise<App> {
  const { default: session } = await rival('@fastify/session')
  const client = ioredis(setting)
  const app = Fastify()
  await app.register(cookie)
  await app.register(session, { secret: SECRET, store: storeOn(client), saveUninitialized: true, cookie: COOKIE })
  return await serve(app, request => ({
    ...byProperty(request),
    regenerate: async () => { await sessionOf(request).regenerate() },
    destroy: async () => { await sessionOf(request).destroy() }
  }), [client])
}

async function startMgcrea (setting: Setting): Promise<App> {
  const { default: session } = await rival('@mgcrea/fastify-session')
  const { RedisStore } = await rival('@mgcrea/fastify-session-redis-store')
  const client = ioredis(setting)
  const app = Fastify()
  await app.register(cookie)
  await app.register(session, { secret: SECRET, store: new RedisStore({ client, ttl: TTL }), saveUninitialized: true, cookie: COOKIE })
  return await serve(app, request => ({
    ...byMethod(request),
    destroy: async () => { await sessionOf(request).destroy() }
  }), [client])
}

async function startSecureSession (): Promise<App> {
  const { default: session } = await rival('@fastify/secure-session')
  const app = Fastify()
  await app.register(session, { secret: SECRET, salt: 'sixteen bytes ok', cookie: COOKIE })
  return await serve(app, request => ({
    ...byMethod(request),
    regenerate: async () => { await sessionOf(request).regenerate() },
    destroy: async () => { sessionOf(request).delete() }
  }), [])
}

async function startExpressSession ({ redis, patience }: Setting): Promise<App> {
  const { default: express } = await rival('express')
  const { default: session } = await rival('express-session')
  const { RedisStore } = await rival('connect-redis')
  const { createClient } = await rival('redis')
  // The time limit for commands of this client ends when they are sent; the socket's is the one for answers.
  const client = createClient({ url: redis, ...patience !== undefined && { socket: { socketTimeout: patience } } })
  client.on('error', () => {})
  await client.connect()
  const app = express()
  // Or it prints every error that it answers with.
  app.set('env', 'test')
  app.use(session({
    secret: SECRET, store: new RedisStore({ client, ttl: TTL }), resave: false, saveUninitialized: true, cookie: COOKIE
  }))
  const gate = new Gate()
  for (const [name, action] of Object.entries(ACTIONS)) {
    app.get(`/${name}`, async (request, response) => {
      /** Its methods take callbacks. */
      const call = async (method: 'regenerate' | 'destroy'): Promise<void> => {
        const { session } = request as unknown as { session: Record<typeof method, (done: (error?: Error) => void) => void> }
        await new Promise<void>((resolve, reject) => {
          session[method](error => { if (error == null) resolve(); else reject(error) })
        })
      }
      const handle = { ...byProperty(request), regenerate: async () => { await call('regenerate') }, destroy: async () => { await call('destroy') } }
      response.json(await action(handle, gate, request.query.field))
    })
  }
  const server = await new Promise<ReturnType<typeof app.listen>>((resolve, reject) => {
    const server = app.listen(0, '127.0.0.1', error => { if (error === undefined) resolve(server); else reject(error) })
  })
  const close = async (): Promise<void> => {
    client.destroy()
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, gate, close }
}

/** All of them, in the report's order. */
export const LIBRARIES: readonly Library[] = [
  { label: 'fastify-live-session', packages: [], redis: true, regenerates: true, increments: true, start: startLive },
  {
    label: '@fastify/session',
    packages: ['@fastify/session'],
    redis: true,
    regenerates: true,
    increments: false,
    start: startFastifySession
  },
  {
    label: '@mgcrea/fastify-session',
    packages: ['@mgcrea/fastify-session', '@mgcrea/fastify-session-redis-store'],
    redis: true,
    regenerates: false,
    increments: false,
    start: startMgcrea
  },
  {
    label: 'express-session',
    packages: ['express-session', 'connect-redis', 'redis', 'express'],
    redis: true,
    regenerates: true,
    increments: false,
    start: startExpressSession
  },
  {
    label: '@fastify/secure-session',
    packages: ['@fastify/secure-session'],
    redis: false,
    regenerates: true,
    increments: false,
    start: startSecureSession
  }
]
