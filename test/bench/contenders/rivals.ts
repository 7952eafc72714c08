/**
 * Loads the rivals, with as much of their types as is used here. They are installed only for a run, and type checks must
 * pass without them; besides, each of them would declare a type of its own for `request.session`.
 */
import type { Server } from 'node:http'
import type { FastifyPluginAsync, FastifyPluginCallback } from 'fastify'
import type { Redis } from 'ioredis'

interface CookieOptions {
  secure: boolean
  httpOnly: boolean
  sameSite: 'lax'
  path: string
}

interface StoredOptions {
  secret: string
  store: object
  saveUninitialized: boolean
  cookie: CookieOptions
}

/** What @fastify/session wants from a store. */
export interface CallbackStore {
  get: (id: string, done: (error: unknown, data?: unknown) => void) => void
  set: (id: string, data: object, done: (error: unknown) => void) => void
  destroy: (id: string, done: (error: unknown) => void) => void
}

/** A session of @mgcrea/fastify-session. */
export interface KeyedSession {
  get: (key: string) => unknown
  set: (key: string, value: unknown) => void
}

/** A request of Express under express-session. */
export interface ExpressRequest {
  session: object
  query: { field: string }
}

type ExpressHandler = (request: ExpressRequest, response: { json: (body: unknown) => void }, next: () => void) => void

interface ExpressApp {
  set: (setting: string, value: string) => void
  use: (handler: ExpressHandler) => void
  get: (path: string, handler: ExpressHandler) => void
  disable: (setting: string) => void
  listen: (port: number, host: string, done: (error?: Error) => void) => Server
}

interface NodeRedis {
  connect: () => Promise<unknown>
  destroy: () => void
  on: (event: 'error', listener: () => void) => void
}

interface NodeRedisOptions {
  url: string
  socket?: { socketTimeout: number }
}

interface Rivals {
  '@fastify/session': { default: FastifyPluginCallback<StoredOptions> }
  '@fastify/secure-session': { default: FastifyPluginCallback<{ secret: string, salt: string, cookie: CookieOptions }> }
  '@mgcrea/fastify-session': { default: FastifyPluginAsync<StoredOptions> }
  '@mgcrea/fastify-session-redis-store': { RedisStore: new (options: { client: Redis, ttl: number }) => object }
  express: { default: () => ExpressApp }
  'express-session': { default: (options: StoredOptions & { resave: boolean }) => ExpressHandler }
  'connect-redis': { RedisStore: new (options: { client: NodeRedis, ttl: number }) => object }
  redis: { createClient: (options: NodeRedisOptions) => NodeRedis }
}

/** Imports a rival; the type checker can't follow a name that is no literal, which is the point. */
export async function rival<Name extends keyof Rivals> (name: Name): Promise<Rivals[Name]> {
  return await import(name) as Rivals[Name]
}
