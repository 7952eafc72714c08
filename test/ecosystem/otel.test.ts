/** OpenTelemetry: @fastify/otel wraps hooks and handlers, and what is asynchronous must not mix up whose span is active. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { FastifyOtelInstrumentation } from '@fastify/otel'
import { trace } from '@opentelemetry/api'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import Fastify from 'fastify'
import { test } from 'tap'
import sessionPlugin from '../../src/index.js'
import { makeApp, SECRET, sharedRedis } from '../support/app.js'
import { Browser, Gate } from '../support/browser.js'

test('each request has its own trace, and no span holds anything secret', async (t) => {
  const exporter = new InMemorySpanExporter()
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  provider.register()
  t.teardown(async () => { await provider.shutdown() })
  const instrumentation = new FastifyOtelInstrumentation()
  instrumentation.setTracerProvider(provider)

  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(instrumentation.plugin())
  await app.register(sessionPlugin, { secret: SECRET, redis: (await sharedRedis()).url, cookie: { secure: false } })
  const gate = new Gate()
  const traceId = (): string => trace.getActiveSpan()!.spanContext().traceId
  app.addHook('onSend', async (_, reply) => { reply.header('trace', traceId()) })
  app.get('/set/:value', async ({ session, params }: any) => { session.value = params.value; return {} })
  app.get('/', async ({ session }: any) => {
    const before = traceId()
    await gate.pass()
    await session.live.reads.incr()
    return { value: session.value, same: before === traceId(), trace: traceId() }
  })
  const browsers = Array.from({ length: 8 }, () => new Browser(app))
  for (const [i, browser] of browsers.entries()) await browser.json(`/set/${i}`)
  const answers = browsers.map(async (browser) => await browser.get('/'))
  await gate.arrived(browsers.length)
  gate.open()
  const traces = new Set<string>()
  for (const [i, response] of (await Promise.all(answers)).entries()) {
    const { value, same, trace } = response.json()
    t.strictSame({ value, same, sent: response.headers['trace'] }, { value: String(i), same: true, sent: trace })
    traces.add(trace)
  }
  t.equal(traces.size, browsers.length)
  const spans = exporter.getFinishedSpans()
  t.ok(spans.some(({ name }) => /onRequest/.test(name)) && spans.some(({ name }) => /onSend/.test(name)), 'our hooks have spans')
  const text = JSON.stringify(spans.map(({ name, attributes, events, status }) => ({ name, attributes, events, status })))
  for (const browser of browsers) t.notOk(text.includes(browser.token!.split('.')[1]!))
})

test('an AsyncLocalStorage that was entered before is there in handlers and after live calls', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const app = await makeApp(t, { redis: (await sharedRedis()).url }, (app) => {
    app.get('/', async ({ session }: any) => {
      const seen = [storage.getStore()]
      session.visits = await session.live.clicks.incr()
      seen.push(storage.getStore())
      await session.save()
      return { seen: [...seen, storage.getStore()] }
    })
  })
  const browser = new Browser(app)
  await browser.get('/')
  await Promise.all(['a', 'b', 'c', 'd'].map(async (name) => {
    const { seen } = await storage.run(name, async () => await browser.clone().json('/'))
    t.strictSame(seen, [name, name, name])
  }))
})
