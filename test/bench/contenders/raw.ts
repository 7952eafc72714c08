/**
 * Fastify and a default ioredis client, without any session library: the least that keeping sessions as JSON in Redis
 * can cost. No signature, no cookie parser and, on `/create`, no cookie sent: every shortcut is in its favour.
 */
import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import { LARGE, LARGE_FIELD, SMALL, TTL, type Answer, type BenchSession, type StartOptions } from '../data.js'
import { listen } from './listen.js'

const COOKIE = 'id='

/** Starts the server. */
export async function start (options: StartOptions): Promise<number> {
  const redis = new Redis(options.redis)
  const app = Fastify()

  /** The Redis key of the session that the request's only cookie names. */
  function keyOf (request: FastifyRequest): string {
    return `sess:${(request.headers.cookie as string).slice(COOKIE.length)}`
  }

  /** Reads a session. */
  async function read (key: string): Promise<BenchSession> {
    return JSON.parse(await redis.get(key) as string) as BenchSession
  }

  /** Stores a new session and gives back its id. */
  async function create (data: object): Promise<string> {
    const id = randomBytes(16).toString('base64url')
    await redis.set(`sess:${id}`, JSON.stringify(data), 'EX', TTL)
    return id
  }

  /** Stores a new session and sends its cookie, for the runner. */
  async function seed (data: object, reply: FastifyReply): Promise<Answer> {
    reply.header('set-cookie', `${COOKIE}${await create(data)}; Path=/; HttpOnly; SameSite=Lax`)
    return { value: true }
  }

  app.get('/anonymous', async (): Promise<Answer> => ({ value: null }))
  app.get('/visitor', async (): Promise<Answer> => ({ value: null }))
  app.get('/read', async (request): Promise<Answer> => ({ value: (await read(keyOf(request))).userId }))
  app.get('/read-large', async (request): Promise<Answer> => ({ value: (await read(keyOf(request)))[LARGE_FIELD] }))
  app.get('/write', async (request): Promise<Answer> => {
    const key = keyOf(request)
    const session = await read(key)
    session.count = (session.count ?? 0) + 1
    await redis.set(key, JSON.stringify(session), 'EX', TTL)
    return { value: session.count }
  })
  app.get('/create', async (): Promise<Answer> => {
    await create(SMALL)
    return { value: true }
  })
  app.get('/seed/small', async (_request, reply) => await seed(SMALL, reply))
  app.get('/seed/large', async (_request, reply) => await seed(LARGE, reply))
  return await listen(app)
}
