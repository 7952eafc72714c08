/**
 * An app as a process of its own, for tests of how processes end, of their clocks, and of what they do while they compute. It takes its settings from
 * `SESSION_*` variables, says on its first line where it listens, and closes on SIGTERM.
 */
import Fastify from 'fastify'
import sessionPlugin from '../../src/index.js'
import { compute } from '../support/compute.js'

// A clock that is off by this many milliseconds.
const offset = Number(process.env['CLOCK_OFFSET'] ?? 0)
if (offset !== 0) {
  const Real = Date
  globalThis.Date = class extends Real {
    constructor (...args: ConstructorParameters<typeof Date>) {
      super(...((args as unknown[]).length === 0 ? [Real.now() + offset] : args) as ConstructorParameters<typeof Date>)
    }

    static override now (): number { return Real.now() + offset }
  } as DateConstructor
}

const app = Fastify()
await app.register(sessionPlugin)

const streams = new Set<() => void>()
app.addHook('preClose', async () => { for (const end of streams) end() })

app.get('/', async ({ session }) => session.data())
app.get('/set', async ({ session, query }) => {
  for (const [name, value] of Object.entries(query as object)) session.set(name, value)
  return {}
})
app.get('/times', async ({ session }) => ({
  now: Date.now(), createdAt: session.createdAt, lastAccessedAt: session.lastAccessedAt, expiresAt: session.expiresAt
}))
// These keep the process busy, for `ms` milliseconds.
const ms = ({ query }: { query: unknown }): number => Number((query as { ms: string }).ms)
app.get('/compute', { config: { session: false } }, async (request) => { compute(ms(request)); return {} })
app.get('/count', async (request) => {
  const n = (request.session.get('n') as number | undefined ?? 0) + 1
  request.session.set('n', n)
  compute(ms(request))
  return { n }
})
app.get('/live', async (request) => {
  const incremented = request.session.live['m']!.incr()
  compute(ms(request))
  return { m: await incremented }
})
app.get('/logout', async ({ session }) => { await session.destroy(); return {} })
app.get('/remember', async ({ session }) => { session.remember({ idleTimeout: 100, lifetime: 1000 }); return {} })
// Answers when it is told to go on, by SIGUSR2, and changes the session right before.
app.get('/slow', async ({ session }) => {
  console.log('slow')
  await new Promise((resolve) => { process.once('SIGUSR2', resolve) })
  session.set('slow', 'done')
  return {}
})
// Open until the session ends, or the app closes.
app.get('/events', async ({ session }, reply) => {
  const { signal } = session
  await session.save()
  reply.hijack()
  reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
  reply.raw.write('data: begun\n\n')
  console.log('events')
  const end = (): void => { reply.raw.end('data: bye\n\n') }
  streams.add(end)
  signal.addEventListener('abort', end)
  reply.raw.on('close', () => { streams.delete(end) })
})

process.once('SIGTERM', () => {
  console.log('closing')
  app.close().then(() => { console.log('closed') }, (error: Error) => { console.log(error.message) })
})
console.log(await app.listen({ port: 0 }))
