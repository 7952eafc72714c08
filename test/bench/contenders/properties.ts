import type { FastifyInstance, FastifyRequest } from 'fastify'
import { LARGE, LARGE_FIELD, SMALL, type Answer, type BenchSession } from '../data.js'

/** The session of a request. Only a cast: the libraries declare `request.session` each in their own way. */
function sessionOf (request: FastifyRequest): BenchSession {
  return (request as unknown as { session: BenchSession }).session
}

/** The routes for libraries whose session data are plain properties of `request.session`. */
export function propertyRoutes (app: FastifyInstance): void {
  app.get('/anonymous', async (): Promise<Answer> => ({ value: null }))
  app.get('/visitor', async (request): Promise<Answer> => ({ value: sessionOf(request).userId ?? null }))
  app.get('/read', async (request): Promise<Answer> => ({ value: sessionOf(request).userId }))
  app.get('/read-large', async (request): Promise<Answer> => ({ value: sessionOf(request)[LARGE_FIELD] }))
  app.get('/write', async (request): Promise<Answer> => {
    const session = sessionOf(request)
    session.count = (session.count ?? 0) + 1
    return { value: session.count }
  })
  for (const [path, data] of [['/create', SMALL], ['/seed/small', SMALL], ['/seed/large', LARGE]] as const) {
    app.get(path, async (request): Promise<Answer> => {
      Object.assign(sessionOf(request), data)
      return { value: true }
    })
  }
}
