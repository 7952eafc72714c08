/** The sessions of one user: a list, ways to end them, and a stream that tells what happens to them. */
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { refuse, refuseEnded } from './answers.js'
import { member } from './forms.js'
import { peek, USER_FIELD, type DemoOptions } from './options.js'

/** How often a stream looks for changes in the list, milliseconds. The end of its own session it is told at once. */
const INTERVAL = 500

/** One session of a user, as the page shows it. */
export interface DeviceView {
  id: string
  /** Browser and system, such as `Firefox on Linux`. */
  device: string
  network: string
  /** ISO 8601. */
  created_at: string
  last_accessed_at: string
  /** Whether it is the session that asks. */
  current: boolean
}

/** Adds `/devices`, `/devices/end`, `/devices/end-others` and `/events`. */
export function addDevices (app: FastifyInstance, options: DemoOptions): void {
  app.get('/devices', peek, async (request, reply) => {
    if (request.session.isNew) return await refuseEnded(request, reply, options)
    return { devices: await devicesOf(request) }
  })

  app.post('/devices/end', async (request, reply) => {
    if (request.session.isNew) return await refuseEnded(request, reply, options)
    const id = member(request.body, 'id')
    // Ids are no secrets: whoever knows one may end it only if it is their own.
    const device = (await devicesOf(request)).find(device => device.id === id)
    if (device === undefined) return refuse(reply, 404, 'That session has ended already')
    if (device.current) return refuse(reply, 400, 'id: that is this session; use /logout')
    const ended = await app.sessions.end(device.id)
    return { ended: Number(ended), devices: await devicesOf(request) }
  })

  app.post('/devices/end-others', async (request, reply) => {
    if (request.session.isNew) return await refuseEnded(request, reply, options)
    const ended = await app.sessions.endAll(userOf(request), { except: request.session })
    return { ended, devices: await devicesOf(request) }
  })

  const closing = new AbortController()
  app.addHook('preClose', async () => { closing.abort() })
  app.get('/events', peek, (request, reply) => {
    // To a browser's EventSource 204 says: do not come again.
    if (request.session.isNew) return reply.code(204).send()
    const gone = new AbortController()
    reply.raw.once('close', () => { gone.abort() })
    // A connection that is kept for another request would keep a server from closing.
    return reply.header('connection', 'close').type('text/event-stream').send(Readable.from(events(request, AbortSignal.any([closing.signal, gone.signal]))))
  })
}

/**
 * `devices` with the list, at first and whenever it changed; at last `ended` with the reason, if it was the session that ended.
 *
 * @param unheard aborts when nobody listens any more
 */
async function * events (request: FastifyRequest, unheard: AbortSignal): AsyncGenerator<string> {
  const { signal } = request.session
  const over = AbortSignal.any([signal, unheard])
  let sent = ''
  while (!over.aborted) {
    const devices = await devicesOf(request).then(JSON.stringify, () => sent)
    if (devices !== sent && !over.aborted) yield `event: devices\ndata: ${devices}\n\n`
    sent = devices
    await wait(INTERVAL, undefined, { signal: over }).catch(() => {})
  }
  if (signal.aborted) yield `event: ended\ndata: ${(signal.reason as { reason: string }).reason}\n\n`
}

/** All sessions of the visitor, in the order of their logins: nothing in a list moves because it was used. */
export async function devicesOf (request: FastifyRequest): Promise<DeviceView[]> {
  const sessions = await request.server.sessions.list(userOf(request), { current: request.session })
  sessions.sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime() || (a.id < b.id ? -1 : 1))
  return sessions.map(({ id, device = '', network = '', createdAt, lastAccessedAt, current }) => (
    { id, device, network, created_at: createdAt.toISOString(), last_accessed_at: lastAccessedAt.toISOString(), current }
  ))
}

function userOf (request: FastifyRequest): string {
  return request.session.get(USER_FIELD) as string
}
