/** What goes out: a session as it stands, or why there is none. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RawRecord } from '../../store/store.js'
import type { DemoOptions } from './options.js'

/** Milliseconds left, next to `ttl` which has whole seconds as its model does: for a countdown that ends in time. */
const TTL_HEADER = 'x-session-ttl-ms'

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

/** A view, and the record that it was made of. */
export interface Viewed { view: SessionView, record: RawRecord }

/** Saves what the handler changed and answers with the session as it stands then. */
export async function answer (request: FastifyRequest, reply: FastifyReply, options: DemoOptions, more?: object): Promise<object> {
  await request.session.save()
  const viewed = await look(request, reply)
  return viewed === undefined ? await refuseEnded(request, reply, options) : { ...viewed.view, ...more }
}

/** The session as the store has it now, or `undefined` where it ended since the request came in. */
export async function look (request: FastifyRequest, reply: FastifyReply): Promise<Viewed | undefined> {
  const { session } = request
  const record = await request.server.sessions.inspect(session.id)
  if (record === undefined) return undefined
  const ttl = Math.ceil(record.ttl / 1000)
  const configured = Number(record.fields['session_ttl'] ?? session.idleTimeout)
  const texts = Object.entries(session.data()).map(([name, value]) => [name, asText(value)])
  reply.header(TTL_HEADER, record.ttl)
  return {
    record,
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

/** The answer where a session is needed and there is none. */
export async function refuseEnded (request: FastifyRequest, reply: FastifyReply, options: DemoOptions): Promise<object> {
  if (!hasCookie(request, options)) return refuse(reply, 401, 'No active session')
  if (await isSuperseded(request, options)) return refuse(reply, 409, 'The session got a new secret meanwhile; try again')
  await request.session.destroy()
  return refuse(reply, 401, 'Session expired')
}

/** An error in this interface's form. */
export function refuse (reply: FastifyReply, status: number, error: string): object {
  reply.code(status)
  return { error }
}

function sessionCookie (request: FastifyRequest, { cookieName }: DemoOptions): string | undefined {
  const names = cookieName === undefined ? ['session-id', '__Host-session-id'] : [cookieName]
  return names.map(name => request.cookies[name]).find(value => value !== undefined)
}

/** Whether a session cookie came in, good or not. */
export function hasCookie (request: FastifyRequest, options: DemoOptions): boolean {
  return sessionCookie(request, options) !== undefined
}

/**
 * Whether the request lost a race against a rotation: its cookie is old, but the record lives. The browser has got the
 * new cookie by another answer, or is about to, and this answer must not clear it.
 */
export async function isSuperseded (request: FastifyRequest, options: DemoOptions): Promise<boolean> {
  const id = /^[\w-]{22}(?=\.)/.exec(sessionCookie(request, options) ?? '')?.[0]
  return id !== undefined && await request.server.sessions.inspect(id) !== undefined
}

function asText (value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** Milliseconds since 1970, in text, as ISO 8601 in whole seconds. */
function isoSeconds (milliseconds: string | undefined): string {
  const date = new Date(Number(milliseconds))
  return Number.isNaN(date.getTime()) ? '' : date.toISOString().replace(/\.\d+Z$/, 'Z')
}
