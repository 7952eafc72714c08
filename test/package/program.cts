/** CommonJS in TypeScript: both ways to import. */
import Fastify = require('fastify')
import plugin = require('fastify-live-session')
import sessionPlugin, { type Session } from 'fastify-live-session'

declare module 'fastify-live-session' {
  interface SessionData { visits?: number }
}

const app = Fastify()
app.register(plugin.default, { redis: new plugin.MemoryStore() })
app.register(sessionPlugin, { redis: 'memory:' })
app.get('/', async ({ session }) => {
  const typed: Session = session
  typed.visits = (session.visits ?? 0) + 1
  // @ts-expect-error: a number
  typed.visits = 'one'
})
