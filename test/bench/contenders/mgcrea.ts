/** @mgcrea/fastify-session with its own Redis store and its default signature (HMAC). */
import cookie from '@fastify/cookie'
import Fastify, { type FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import { LARGE, LARGE_FIELD, SECRET, SMALL, TTL, type Answer, type StartOptions } from '../data.js'
import { listen } from './listen.js'
import { rival, type KeyedSession } from './rivals.js'

/** The session of a request, which this library reads and writes by key. */
function sessionOf (request: FastifyRequest): KeyedSession {
  return (request as unknown as { session: KeyedSession }).session
}

/** Starts the server. */
export async function start (options: StartOptions): Promise<number> {
  const { default: session } = await rival('@mgcrea/fastify-session')
  const { RedisStore } = await rival('@mgcrea/fastify-session-redis-store')
  const app = Fastify()
  await app.register(cookie)
  await app.register(session, {
    secret: SECRET,
    store: new RedisStore({ client: new Redis(options.redis), ttl: TTL }),
    saveUninitialized: false,
    cookie: { secure: false, httpOnly: true, sameSite: 'lax', path: '/' }
  })
  app.get('/anonymous', async (): Promise<Answer> => ({ value: null }))
  app.get('/visitor', async (request): Promise<Answer> => ({ value: sessionOf(request).get('userId') ?? null }))
  app.get('/read', async (request): Promise<Answer> => ({ value: sessionOf(request).get('userId') }))
  app.get('/read-large', async (request): Promise<Answer> => ({ value: sessionOf(request).get(LARGE_FIELD) }))
  app.get('/write', async (request): Promise<Answer> => {
    const count = Number(sessionOf(request).get('count') ?? 0) + 1
    sessionOf(request).set('count', count)
    return { value: count }
  })
  for (const [path, data] of [['/create', SMALL], ['/seed/small', SMALL], ['/seed/large', LARGE]] as const) {
    app.get(path, async (request): Promise<Answer> => {
      for (const [field, value] of Object.entries(data)) sessionOf(request).set(field, value)
      return { value: true }
    })
  }
  return await listen(app)
}
