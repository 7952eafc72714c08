/** While the session is being saved the answer is on its way: Fastify must start neither the handler nor a second answer. */
import { Readable } from 'node:stream'
import { test } from 'tap'
import { makeApp, onEveryStore, type Lines } from '../support/app.js'
import { Browser } from '../support/browser.js'

test('a hook that sends and does not say so: the handler does not run', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    let runs = 0
    const app = await makeApp(t, { redis }, (app) => {
      const refuse = async (request: any, reply: any): Promise<void> => {
        request.session.refused = (request.session.refused ?? 0) + 1
        reply.code(401).send({ refused: request.session.refused })
      }
      for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
        app.get(`/${hook}`, { [hook]: refuse }, async (_, reply) => { runs++; reply.header('location', '/elsewhere'); return { secret: 'of the handler' } })
      }
    })
    const browser = new Browser(app)
    let refused = 0
    for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
      const response = await browser.get(`/${hook}`)
      t.match(response, { statusCode: 401, body: `{"refused":${++refused}}`, headers: { location: undefined } }, hook)
    }
    t.equal(runs, 0)
  })
})

test('a handler that sends and does not say so: one answer, with the cookie', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const lines: Lines = []
    const app = await makeApp(t, { redis, lines }, (app) => {
      app.get('/unsaid', async ({ session }: any, reply) => { session.a = 1; reply.setCookie?.('x', '1'); reply.send({ first: true }) })
      app.get('/twice', async ({ session }: any, reply) => { session.a = 2; reply.send({ first: true }); return { first: false } })
      app.get('/stream', async ({ session }: any, reply) => { session.a = 3; return reply.send(Readable.from(['first', ' second'])) })
      app.get('/awaited', async ({ session }: any, reply) => { session.a = 4; await reply.send(Readable.from(['first', ' second'])); return reply.raw.writableEnded ? undefined : 'too early' })
      app.get('/', async ({ session }: any) => session.data())
    })
    const browser = new Browser(app)
    t.equal((await browser.get('/unsaid')).body, '{"first":true}')
    t.strictSame(await browser.json('/'), { a: 1 })
    t.equal((await browser.get('/twice')).body, '{"first":true}')
    t.strictSame(await browser.json('/'), { a: 2 })
    t.strictSame(lines.filter(({ level }) => level >= 40).map(({ err }) => (err as { code?: string } | undefined)?.code), ['FST_ERR_REP_ALREADY_SENT'])
    for (const path of ['/stream', '/awaited']) t.equal((await browser.get(path)).body, 'first second', path)
    t.strictSame(await browser.json('/'), { a: 4 })
  })
})
