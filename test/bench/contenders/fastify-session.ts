/** @fastify/session with the usual store for ioredis: JSON text, three methods. */
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { SECRET, TTL, type StartOptions } from '../data.js'
import { listen } from './listen.js'
import { propertyRoutes } from './properties.js'
import { rival, type CallbackStore } from './rivals.js'

/** The store that its users write: GET, SET with an expiry, DEL. */
export function storeOn (redis: Redis): CallbackStore {
  return {
    get (id, done) {
      redis.get(`sess:${id}`).then(text => done(null, text === null ? null : JSON.parse(text)), done)
    },
    set (id, data, done) {
      redis.set(`sess:${id}`, JSON.stringify(data), 'EX', TTL).then(() => done(null), done)
    },
    destroy (id, done) {
      redis.del(`sess:${id}`).then(() => done(null), done)
    }
  }
}

/** Starts the server. `rolling` stays on, as by default: without it a session that is only read runs out. */
export async function start (options: StartOptions): Promise<number> {
  const { default: session } = await rival('@fastify/session')
  const app = Fastify()
  await app.register(cookie)
  await app.register(session, {
    secret: SECRET,
    store: storeOn(new Redis(options.redis)),
    saveUninitialized: false,
    cookie: { secure: false, httpOnly: true, sameSite: 'lax', path: '/' }
  })
  propertyRoutes(app)
  return await listen(app)
}
