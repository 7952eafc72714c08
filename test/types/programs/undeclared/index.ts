/** An application that declares no data, and one whose TypeScript does not care about indexes. */
import Fastify, { type FastifyRequest } from 'fastify'
import sessionPlugin, { type LiveAttribute } from 'fastify-live-session'
import { exactly } from '../exactly.js'

const app = Fastify()
app.register(sessionPlugin, { redis: 'memory:' })

export async function handler ({ session }: FastifyRequest): Promise<unknown> {
  session.set('count', 1)
  const count = session.get('count')
  exactly<unknown>()(count)
  // @ts-expect-error: declare it, or use get and set
  session.count = 1
  const attribute = session.live['count']
  // What noUncheckedIndexedAccess makes of any name.
  exactly<LiveAttribute | undefined>()(attribute)
  const clicks = await session.live['count']!.incr()
  exactly<number>()(clicks)
  const data = session.data()
  exactly<unknown>()(data['count'])
  return await app.sessions.issue({ count: 1 })
}
