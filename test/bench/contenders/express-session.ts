/** express-session with connect-redis on Express, over the client that connect-redis is written for (node-redis). */
import type { AddressInfo } from 'node:net'
import { LARGE, LARGE_FIELD, SECRET, SMALL, TTL, type BenchSession, type StartOptions } from '../data.js'
import { rival, type ExpressRequest } from './rivals.js'

/** The session of a request. Only a cast. */
function sessionOf (request: ExpressRequest): BenchSession {
  return request.session as BenchSession
}

/** Starts the server. No ETag and no X-Powered-By: the Fastify contenders send neither. */
export async function start (options: StartOptions): Promise<number> {
  const { default: express } = await rival('express')
  const { default: session } = await rival('express-session')
  const { RedisStore } = await rival('connect-redis')
  const { createClient } = await rival('redis')
  const client = createClient({ url: options.redis })
  await client.connect()
  const app = express()
  app.disable('etag')
  app.disable('x-powered-by')
  app.use(session({
    secret: SECRET,
    store: new RedisStore({ client, ttl: TTL }),
    resave: false,
    saveUninitialized: false,
    cookie: { secure: false, httpOnly: true, sameSite: 'lax', path: '/' }
  }))
  app.get('/anonymous', (_request, response) => { response.json({ value: null }) })
  app.get('/visitor', (request, response) => { response.json({ value: sessionOf(request).userId ?? null }) })
  app.get('/read', (request, response) => { response.json({ value: sessionOf(request).userId }) })
  app.get('/read-large', (request, response) => { response.json({ value: sessionOf(request)[LARGE_FIELD] }) })
  app.get('/write', (request, response) => {
    const data = sessionOf(request)
    data.count = (data.count ?? 0) + 1
    response.json({ value: data.count })
  })
  for (const [path, data] of [['/create', SMALL], ['/seed/small', SMALL], ['/seed/large', LARGE]] as const) {
    app.get(path, (request, response) => {
      Object.assign(sessionOf(request), data)
      response.json({ value: true })
    })
  }
  return await new Promise((resolve, reject) => {
    const server = app.listen(0, '127.0.0.1', (error?: Error) => {
      if (error === undefined) resolve((server.address() as AddressInfo).port)
      else reject(error)
    })
  })
}
