/** What the redis.io demo does not have. */
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { answer, refuse, refuseEnded } from './answers.js'
import { member } from './forms.js'
import { FIELDS, peek, type DemoOptions } from './options.js'
import { dataFirst, redisCliOutput } from './redis-cli.js'

/** How long `POST /field` sits on its session between reading and writing it, so that parallel requests do overlap. */
const FIELD_DELAY = 60

/** What `POST /field` may write. */
const NAMES = new Set(Array.from({ length: FIELDS }, (_, index) => `field${String(index + 1).padStart(2, '0')}`))

/** Adds `/rotate`, `/record` and `/field`. */
export function addExtras (app: FastifyInstance, options: DemoOptions): void {
  app.post('/rotate', async (request, reply) => {
    if (request.session.isNew) return await refuseEnded(request, reply, options)
    const before = await fingerprint(request)
    await request.session.rotate()
    await request.session.save()
    return await answer(request, reply, options, { fingerprint: { before, after: await fingerprint(request) } })
  })

  app.get('/record', peek, async (request, reply) => {
    const record = request.session.isNew ? undefined : await request.server.sessions.inspect(request.session.id)
    if (record === undefined) return await refuseEnded(request, reply, options)
    const store = options.redis === 'memory:' ? 'memory' : 'redis'
    return { store, key: record.key, ttl_ms: record.ttl, fields: dataFirst(record.fields), text: redisCliOutput(record) }
  })

  app.post('/field', async (request, reply) => {
    if (request.session.isNew) return await refuseEnded(request, reply, options)
    const name = member(request.body, 'name')
    const value = member(request.body, 'value')
    if (typeof name !== 'string' || !NAMES.has(name)) return refuse(reply, 400, `name: field01 to field${FIELDS}`)
    if (typeof value !== 'string' || value.length > 100) return refuse(reply, 400, 'value: at most 100 characters of text')
    await wait(FIELD_DELAY)
    request.session.set(name, value)
    await request.session.save()
    return { name, value }
  })
}

/** The first characters of the hash that stands for the cookie's secret: enough to see that it changed. */
async function fingerprint (request: FastifyRequest): Promise<string> {
  const record = await request.server.sessions.inspect(request.session.id)
  return record?.fields['@digest']?.slice(0, 8) ?? ''
}
