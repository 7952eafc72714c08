/**
 * An app as a process of its own, for tests of how processes end and of their clocks. It takes its settings from
 * `SESSION_*` variables, says on its first line where it listens, and closes on SIGTERM.
 */
import Fastify from 'fastify'
import sessionPlugin from '../../src/index.js'

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
