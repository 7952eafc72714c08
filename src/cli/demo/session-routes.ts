/** The interface of the redis.io session demo: its paths, status codes and JSON, so that its scripts work here too. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { answer, hasCookie, isSuperseded, look, refuse, refuseEnded } from './answers.js'
import { ClientLimit } from './client-limit.js'
import { filledIn, MAX_TTL, MAX_USERNAME, member, readTtl, readUsername } from './forms.js'
import { ENDPOINT_TTL, MAX_SESSIONS_PER_CLIENT, peek, USER_FIELD, type DemoOptions } from './options.js'

/** Adds `/session`, `/login`, `/increment`, `/ttl` and `/logout`. */
export function addSessionRoutes (app: FastifyInstance, options: DemoOptions): void {
  const limit = new ClientLimit(app.sessions, options.maxSessionsPerClient ?? MAX_SESSIONS_PER_CLIENT)

  app.get('/session', peek, async (request, reply) => {
    const viewed = request.session.isNew ? undefined : await look(request, reply)
    if (viewed !== undefined) return viewed.view
    if (hasCookie(request, options) && !await isSuperseded(request, options)) await request.session.destroy()
    return { authenticated: false, session: null }
  })

  app.post('/login', async (request, reply) => {
    const username = readUsername(request.body)
    if (username === undefined) return refuse(reply, 400, `username: at most ${MAX_USERNAME} characters of text`)
    const ttl = readTtl(filledIn(request.body, 'ttl') ?? options.ttl ?? ENDPOINT_TTL)
    if (ttl === undefined) return refuseTtl(reply)

    // A login starts over: whatever was put into the session before, by whomever, does not come along.
    await request.session.regenerate()
    request.session.set(USER_FIELD, username)
    request.session.set('page_views', 1)
    request.session.idleTimeout = ttl
    await request.session.save()
    await limit.started(request.ip, request.session.id)
    return await answer(request, reply, options)
  })

  app.post('/increment', async (request, reply) => {
    if (request.session.isNew) return await refuseEnded(request, reply, options)
    const pageViews = await request.session.live.page_views!.incr(1)
    return await answer(request, reply, options, { page_views: pageViews })
  })

  app.post('/ttl', async (request, reply) => {
    if (!hasCookie(request, options)) return await refuseEnded(request, reply, options)
    const ttl = readTtl(member(request.body, 'ttl'))
    if (ttl === undefined) return refuseTtl(reply)
    if (request.session.isNew) return await refuseEnded(request, reply, options)
    request.session.idleTimeout = ttl
    return await answer(request, reply, options)
  })

  app.post('/logout', async request => {
    await request.session.destroy()
    return { authenticated: false }
  })
}

function refuseTtl (reply: FastifyReply): object {
  return refuse(reply, 400, `ttl: a whole number of seconds from 1 to ${MAX_TTL}`)
}
