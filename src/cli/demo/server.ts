/**
 * The demo's server: the page, and the small JSON interface under it. Paths, status codes and JSON are those of the
 * redis.io session demo, so that its scripts work here too; `/rotate`, `/record` and `/field` come on top.
 */
import { setTimeout as wait } from 'node:timers/promises'
import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import sessionPlugin from '../../index.js'
import { CONTENT_SECURITY_POLICY, renderPage } from './page.js'

/** Longest idle timeout the demo accepts, seconds: thirty days, its sessions' absolute lifetime. */
export const MAX_TTL = 30 * 24 * 60 * 60
/** Longest name in the start form, in UTF-16 units as browsers count them for `maxlength`. */
export const MAX_USERNAME = 40

/** Idle timeout the page's form proposes, seconds: short enough to watch it end. */
const FORM_TTL = 15
/** Idle timeout of a `POST /login` that names none, seconds. */
const ENDPOINT_TTL = 60
/** How long `POST /field` sits on its session between reading and writing it, so that parallel requests do overlap. */
const FIELD_DELAY = 60
/** Milliseconds left, next to `ttl` which has whole seconds as its model does: for a countdown that ends in time. */
const TTL_HEADER = 'x-session-ttl-ms'

/** Looking at a session is not using it. */
const peek = { config: { session: { touch: false } } }

/** What the demo server can be told. */
export interface DemoOptions {
  /** URL of the store, or `memory:`. */
  redis: string
  /** Signs the cookies; without it the plugin reads `SESSION_SECRET`. */
  secret?: string | undefined
  /** Idle timeout in seconds, for the page's form and for `POST /login` alike. */
  ttl?: number | undefined
  /** The cookie's `Secure` attribute; without it the plugin decides. */
  secureCookie?: boolean | undefined
  /** The cookie's name; without it the plugin decides. */
  cookieName?: string | undefined
  /** Passed on to Fastify. */
  logger?: FastifyServerOptions['logger']
}

/** A session as the JSON interface shows it. */
export interface SessionView {
  authenticated: true
  session_id: string
  /** Texts only, as the redis.io demo has them. */
  session: Record<string, string>
  /** The session's idle timeout, seconds. */
  configured_ttl: number
  /** Time left, seconds. */
  ttl: number
}

/** A view, and the time left to the millisecond. */
interface Viewed { view: SessionView, ttlMs: number }

/**
 * Builds the demo's app, ready for `listen` or `inject`.
 *
 * @param options where sessions are kept, and what the defaults are
 * @throws OptionError (`SESSION_OPTION_INVALID`) where the plugin refuses an option or a variable
 */
export async function buildDemo (options: DemoOptions): Promise<FastifyInstance> {
  const app = Fastify({ logger: options.logger ?? false })
  acceptForms(app)
  app.addHook('onRequest', setSecurityHeaders)
  app.setErrorHandler(answerError)
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'Not found' }))
  // For request.cookies: without a session, the answers tell those who sent a cookie from those who did not.
  await app.register(fastifyCookie)
  await app.register(sessionPlugin, pluginOptions(options))
  addPage(app, options)
  addSessionRoutes(app, options)
  addExtras(app, options)
  await app.ready()
  return app
}

function pluginOptions (options: DemoOptions) {
  return {
    redis: options.redis,
    ...options.secret !== undefined && { secret: options.secret },
    idleTimeout: options.ttl ?? ENDPOINT_TTL,
    lifetime: MAX_TTL,
    // Every use shows at once in the countdown; a real app would rather save the writes.
    touchInterval: 0,
    cookie: {
      ...options.cookieName !== undefined && { name: options.cookieName },
      ...options.secureCookie !== undefined && { secure: options.secureCookie }
    }
  }
}

/** Bodies are forms, or JSON by Fastify's own parser. Plain text would read as an empty form, so it is refused. */
function acceptForms (app: FastifyInstance): void {
  app.removeContentTypeParser('text/plain')
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
}

function setSecurityHeaders (_request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  reply.headers({
    'content-security-policy': CONTENT_SECURITY_POLICY,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    // Every answer here depends on the session.
    'cache-control': 'no-store'
  })
  done()
}

/** Every error as `{ error: text }`, as the handlers below write theirs. What went wrong inside stays in the log. */
function answerError (error: Error & { statusCode?: number }, request: FastifyRequest, reply: FastifyReply): void {
  const status = error.statusCode ?? 500
  // An absent store (503) the plugin has reported already, once instead of for every request.
  if (status === 500) request.log.error(error)
  reply.code(status).send({ error: status === 500 ? 'Something went wrong; the server has logged it' : error.message })
}

function addPage (app: FastifyInstance, options: DemoOptions): void {
  const page = async (request: FastifyRequest, reply: FastifyReply): Promise<string> => {
    const viewed = request.session.isNew ? undefined : await look(request, reply)
    reply.type('text/html; charset=utf-8')
    return renderPage({ ...viewed, formTtl: options.ttl ?? FORM_TTL, maxUsername: MAX_USERNAME, maxTtl: MAX_TTL })
  }
  app.get('/', page)
  app.get('/index.html', page)
}

function addSessionRoutes (app: FastifyInstance, options: DemoOptions): void {
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
    request.session.set('username', username)
    request.session.set('page_views', 1)
    request.session.idleTimeout = ttl
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

/** What the redis.io demo does not have. */
function addExtras (app: FastifyInstance, options: DemoOptions): void {
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
    return { store, key: record.key, ttl_ms: record.ttl, fields: record.fields }
  })

  app.post('/field', async (request, reply) => {
    if (request.session.isNew) return await refuseEnded(request, reply, options)
    const name = member(request.body, 'name')
    const value = member(request.body, 'value')
    if (typeof name !== 'string' || !/^field\d\d$/.test(name)) return refuse(reply, 400, 'name: field00 to field99')
    if (typeof value !== 'string' || value.length > 100) return refuse(reply, 400, 'value: at most 100 characters of text')
    await wait(FIELD_DELAY)
    request.session.set(name, value)
    await request.session.save()
    return { name, value }
  })
}

/** Saves what the handler changed and answers with the session as it stands then. */
async function answer (request: FastifyRequest, reply: FastifyReply, options: DemoOptions, more?: object): Promise<object> {
  await request.session.save()
  const viewed = await look(request, reply)
  return viewed === undefined ? await refuseEnded(request, reply, options) : { ...viewed.view, ...more }
}

/** The session as the store has it now, or `undefined` where it ended since the request came in. */
async function look (request: FastifyRequest, reply: FastifyReply): Promise<Viewed | undefined> {
  const { session } = request
  const record = await request.server.sessions.inspect(session.id)
  if (record === undefined) return undefined
  const ttl = Math.ceil(record.ttl / 1000)
  const configured = Number(record.fields['session_ttl'] ?? session.idleTimeout)
  const texts = Object.entries(session.data()).map(([name, value]) => [name, asText(value)])
  reply.header(TTL_HEADER, record.ttl)
  return {
    ttlMs: record.ttl,
    view: {
      authenticated: true,
      session_id: session.id,
      session: {
        ...Object.fromEntries(texts) as Record<string, string>,
        created_at: isoSeconds(record.fields['created_at']),
        last_accessed_at: isoSeconds(record.fields['last_accessed_at']),
        session_ttl: String(configured),
        ttl: String(ttl)
      },
      configured_ttl: configured,
      ttl
    }
  }
}

/** The first characters of the hash that stands for the cookie's secret: enough to see that it changed. */
async function fingerprint (request: FastifyRequest): Promise<string> {
  const record = await request.server.sessions.inspect(request.session.id)
  return record?.fields['@digest']?.slice(0, 8) ?? ''
}

/** The answer where a session is needed and there is none. */
async function refuseEnded (request: FastifyRequest, reply: FastifyReply, options: DemoOptions): Promise<object> {
  if (!hasCookie(request, options)) return refuse(reply, 401, 'No active session')
  if (await isSuperseded(request, options)) return refuse(reply, 409, 'The session got a new secret meanwhile; try again')
  await request.session.destroy()
  return refuse(reply, 401, 'Session expired')
}

function refuseTtl (reply: FastifyReply): object {
  return refuse(reply, 400, `ttl: a whole number of seconds from 1 to ${MAX_TTL}`)
}

function refuse (reply: FastifyReply, status: number, error: string): object {
  reply.code(status)
  return { error }
}

function sessionCookie (request: FastifyRequest, { cookieName }: DemoOptions): string | undefined {
  const names = cookieName === undefined ? ['session-id', '__Host-session-id'] : [cookieName]
  return names.map(name => request.cookies[name]).find(value => value !== undefined)
}

function hasCookie (request: FastifyRequest, options: DemoOptions): boolean {
  return sessionCookie(request, options) !== undefined
}

/**
 * Whether the request lost a race against a rotation: its cookie is old, but the record lives. The browser has got the
 * new cookie by another answer, or is about to, and this answer must not clear it.
 */
async function isSuperseded (request: FastifyRequest, options: DemoOptions): Promise<boolean> {
  const id = /^[\w-]{22}(?=\.)/.exec(sessionCookie(request, options) ?? '')?.[0]
  return id !== undefined && await request.server.sessions.inspect(id) !== undefined
}

/** A member of a parsed body, whatever the body is. */
function member (body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null && Object.hasOwn(body, name) ? Reflect.get(body, name) : undefined
}

/** The same, but a form field left empty counts as absent. */
function filledIn (body: unknown, name: string): unknown {
  const value = member(body, name)
  return value === '' ? undefined : value
}

function readUsername (body: unknown): string | undefined {
  const username = member(body, 'username') ?? ''
  if (typeof username !== 'string') return undefined
  const trimmed = username.trim()
  return trimmed.length > MAX_USERNAME ? undefined : trimmed || 'Guest'
}

/** Whole seconds, as a form has them (text) or JSON (a number). `15.9` and `10abc` are neither. */
function readTtl (value: unknown): number | undefined {
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text !== 'string' || !/^\s*\d+\s*$/.test(text)) return undefined
  const ttl = Number(text)
  return ttl >= 1 && ttl <= MAX_TTL ? ttl : undefined
}

function asText (value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** Milliseconds since 1970, in text, as ISO 8601 in whole seconds. */
function isoSeconds (milliseconds: string | undefined): string {
  const date = new Date(Number(milliseconds))
  return Number.isNaN(date.getTime()) ? '' : date.toISOString().replace(/\.\d+Z$/, 'Z')
}
