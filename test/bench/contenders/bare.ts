/** Fastify and nothing else: the ceiling for requests without a session. */
import Fastify from 'fastify'
import type { Answer } from '../data.js'
import { listen } from './listen.js'

/** Starts the server; it has no session, so only the routes for visitors without one exist. */
export async function start (): Promise<number> {
  const app = Fastify()
  app.get('/anonymous', async (): Promise<Answer> => ({ value: null }))
  app.get('/visitor', async (): Promise<Answer> => ({ value: null }))
  return await listen(app)
}
