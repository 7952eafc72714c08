/** @fastify/flash keeps all its messages in one field, `flash`. */
import flash from '@fastify/flash'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { makeApp, onEveryStore } from '../support/app.js'
import { Browser, Gate } from '../support/browser.js'

type Messages = Record<string, string[]>

async function appWithFlash (t: Test, redis: string, gate = new Gate()): Promise<FastifyInstance> {
  return await makeApp(t, { redis }, (app) => {
    app.register(flash)
    app.register(async (app) => {
      app.get('/flash/:text', async (request: any) => ({ count: request.flash('info', request.params.text) }))
      app.get('/show', async (_, reply: any) => reply.flash())
      app.get('/show/:type', async ({ params }: any, reply: any) => ({ messages: reply.flash(params.type) }))
      app.get('/slow/:text', async (request: any) => { request.flash('info', request.params.text); await gate.pass(); return {} })
      app.get('/write/:field', async ({ session, params }: any) => { await gate.pass(); session[params.field] = 1; return {} })
      app.get('/', async ({ session }: any) => session.data())
      // What the README recommends where several requests flash or show messages at once.
      app.get('/add/:text', async ({ session, params }: any) => {
        await gate.pass()
        await session.live.flash.update((all: Messages = {}) => ({ ...all, info: [...(all['info'] ?? []), params.text] }))
        return {}
      })
      app.get('/take', async ({ session, query }: any) => {
        if (query.wait !== undefined) await gate.pass()
        return await session.live.flash.take() ?? {}
      })
    })
  })
}

test('messages wait for the next page, which shows them once', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const browser = new Browser(await appWithFlash(t, redis))
    t.strictSame(await browser.json('/take'), {})
    t.equal(browser.token, undefined, 'taking messages where there are none stores nothing')
    t.strictSame(await browser.json('/flash/one'), { count: 1 })
    t.strictSame(await browser.json('/flash/two'), { count: 2 })
    t.strictSame(await browser.json('/show/error'), { messages: [] })
    t.strictSame(await browser.json('/show/info'), { messages: ['one', 'two'] })
    t.strictSame(await browser.json('/show'), {})
  })
})

test('no message is lost to parallel requests that change other fields', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const gate = new Gate()
    const browser = new Browser(await appWithFlash(t, redis, gate))
    await browser.get('/flash/zero')
    const fields = ['a', 'b', 'c', 'd']
    const answers = [browser.get('/slow/one'), ...fields.map(async (field) => await browser.get(`/write/${field}`))]
    await gate.arrived(answers.length)
    gate.open()
    for (const { statusCode } of await Promise.all(answers)) t.equal(statusCode, 200)
    t.strictSame(await browser.json('/'), { flash: { info: ['zero', 'one'] }, ...Object.fromEntries(fields.map((field) => [field, 1])) })
  })
})

test('a page that takes the messages loses none that a request flashes meanwhile', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const gate = new Gate()
    const browser = new Browser(await appWithFlash(t, redis, gate))
    await browser.get('/flash/old')
    const flashing = browser.get('/slow/new')
    await gate.arrived(1)
    t.strictSame(await browser.json('/take'), { info: ['old'] })
    gate.open()
    await flashing
    t.ok((await browser.json('/take')).info.includes('new'))
  })
})

test('with live attributes: parallel requests add without loss, and of parallel pages exactly one shows each message', async (t) => {
  await onEveryStore(t, async (t, { redis }) => {
    const gate = new Gate()
    const browser = new Browser(await appWithFlash(t, redis, gate))
    await browser.get('/flash/0')
    const texts = Array.from({ length: 8 }, (_, i) => String(i))
    const pages = [
      ...texts.slice(1).map(async (text) => await browser.json(`/add/${text}`)),
      ...Array.from({ length: 4 }, async () => await browser.json('/take?wait'))
    ]
    await gate.arrived(pages.length)
    gate.open()
    const shown = (await Promise.all(pages) as Messages[]).flatMap(({ info = [] }) => info)
    const left = (await browser.json('/show'))['info'] ?? []
    t.strictSame([...shown, ...left].sort(), texts)
    t.strictSame(await browser.json('/show'), {})
  })
})
