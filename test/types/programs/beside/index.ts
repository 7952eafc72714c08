/** The types of @fastify/session in the same program, with `skipLibCheck`: the declaration that comes first counts. */
import sessionPlugin, { type Session } from 'fastify-live-session'
import other from '@fastify/session'
import Fastify from 'fastify'
import { exactly } from '../exactly.js'

declare module 'fastify-live-session' {
  interface SessionData { count?: number }
}

const old = Fastify()
old.register(other, { secret: 'x'.repeat(32) })

const app = Fastify()
app.register(sessionPlugin)
app.get('/', async (request) => {
  exactly<Session>()(request.session)
  return await request.session.live.count.incr()
})
