/** @fastify/multipart: the session before, while and after files come in. */
import multipart from '@fastify/multipart'
import { test } from 'tap'
import { makeApp, sharedRedis } from '../support/app.js'
import { Browser } from '../support/browser.js'

/** A form with one text and one file, as a browser sends it. */
async function form (text: string, file: string): Promise<{ method: 'POST', headers: Record<string, string>, payload: Buffer }> {
  const data = new FormData()
  data.set('title', text)
  data.set('file', new Blob([file]), 'a.txt')
  const response = new Response(data)
  return { method: 'POST', headers: { 'content-type': response.headers.get('content-type')! }, payload: Buffer.from(await response.arrayBuffer()) }
}

test('uploads are noted in the session, and a refused one is not', async (t) => {
  const app = await makeApp(t, { redis: (await sharedRedis()).url }, (app) => {
    app.register(multipart, { limits: { fileSize: 100 } })
    app.register(async (app) => {
      app.get('/', async ({ session }: any) => session.data())
      app.post('/upload', async (request: any) => {
        const { session } = request
        session.attempts = (session.attempts ?? 0) + 1
        for await (const part of request.parts()) {
          session.uploads ??= []
          if (part.type === 'file') session.uploads.push({ name: part.filename, size: (await part.toBuffer()).length })
          else session[part.fieldname] = part.value
          await session.live.parts.incr()
        }
        return {}
      })
    })
  })
  const browser = new Browser(app)
  t.equal((await browser.get('/upload', await form('one', 'x'.repeat(50)))).statusCode, 200)
  t.strictSame(await browser.json('/'), { attempts: 1, title: 'one', uploads: [{ name: 'a.txt', size: 50 }], parts: 2 })
  t.equal((await browser.get('/upload', await form('two', 'x'.repeat(101)))).statusCode, 413)
  t.match(await browser.json('/'), { attempts: 2, title: 'two', parts: 3 }, 'an answer below 500 keeps what the handler changed')
})
