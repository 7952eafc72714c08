/** Headers that anybody can send, and that say how the request came. */
import type { FastifyInstance } from 'fastify'
import { test } from 'tap'
import { makeApp } from '../support/app.js'
import { setCookies } from '../support/browser.js'
import { listen, sendRaw } from '../support/raw.js'
import { parseSetCookie } from '../support/set-cookie.js'

const FORGED: string[][] = [
  [], ['X-Forwarded-Proto: http'], ['X-Forwarded-Proto: https'], ['X-Forwarded-Proto: http, https'], ['X-Forwarded-Proto: https', 'X-Forwarded-Proto: http'], ['X-Forwarded-Proto: \xff'],
  ['X-Forwarded-Host: evil.example'], ['X-Forwarded-Host: evil.example; Domain=evil.example'], ['X-Forwarded-For: 127.0.0.1'], ['X-Forwarded-Ssl: off'], ['Front-End-Https: off'], ['X-Forwarded-Port: 80'],
  ['Forwarded: for=1.2.3.4;proto=http;host=evil.example'], ['X-Forwarded-Prefix: /evil'], ['X-Original-URL: /evil'], ['X-Scheme: http'], ['Via: 1.1 evil'],
  ['Origin: https://evil.example', 'Referer: https://evil.example/', 'Sec-Fetch-Site: cross-site'], ['Cookie: Path=/evil; Domain=evil.example; HttpOnly=false']
]

test('no header of a request changes an attribute of the cookie', async (t) => {
  for (const trustProxy of [false, true]) {
    for (const cookie of [{ secure: true }, { secure: true, persistent: true, sameSite: 'strict' }, { secure: false, domain: 'app.example' }] as const) {
      const app = await makeApp(t, { redis: 'memory:', cookie, server: { trustProxy } }, (app: FastifyInstance) => {
        app.get('/', async ({ session }: any) => { session.a = 1; return {} })
        app.get('/end', async ({ session }: any) => { session.a = 1; await session.save(); await session.destroy(); return {} })
      })
      const port = await listen(app)
      for (const target of ['/', '/end']) {
        const seen = new Set<string>()
        for (const lines of FORGED) {
          const { status, headers } = await sendRaw(port, [...lines, 'Cookie: session-id=some; __Host-session-id=thing'], target)
          t.equal(status, 200)
          const [line, ...more] = headers.filter(([name]) => name === 'set-cookie').map(([, value]) => parseSetCookie(value))
          t.equal(more.length, 0)
          seen.add(JSON.stringify([line!.name, ...line!.attributes]))
        }
        t.equal(seen.size, 1, [...seen].join(' or '))
      }
    }
  }
})

test('the secret leaves in Set-Cookie only, and the cookie\'s length says nothing about what is stored', async (t) => {
  const app = await makeApp(t, { redis: 'memory:', rotateEvery: 60 }, (app: FastifyInstance) => {
    app.get('/', async ({ session, query }: any) => { session.text = 'x'.repeat(Number(query.length)); return { session, id: session.id, string: String(session) } })
    app.get('/redirect', async ({ session }: any, reply) => { session.a = 1; return reply.redirect(`/?id=${session.id}`) })
    app.get('/error', async ({ session }: any) => { session.a = 1; await session.save(); throw Object.assign(new Error(`of session ${JSON.stringify(session)}`), { statusCode: 400 }) })
  })
  const lengths = new Set<number>()
  for (const url of ['/?length=0', '/?length=1', '/?length=10000', '/redirect', '/error']) {
    const response = await app.inject(url)
    const { value } = setCookies(response)[0]!
    lengths.add(value.length)
    const { 'set-cookie': line, ...others } = response.headers
    const [, secret = '', signature = ''] = value.split('.')
    for (const part of [secret, signature]) t.notOk(response.body.includes(part) || JSON.stringify(others).includes(part), url)
    t.ok(String(line).includes(secret))
  }
  t.equal(lengths.size, 1)
})
