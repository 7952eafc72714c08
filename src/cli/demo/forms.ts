/** What comes in: members of a form's or a JSON body, checked before anybody uses them. */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'

/** Longest idle timeout the demo accepts, seconds: a day, its sessions' absolute lifetime. Nobody's sessions stay for longer. */
export const MAX_TTL = 24 * 60 * 60
/** Longest name in the start form, in UTF-16 units as browsers count them for `maxlength`. */
export const MAX_USERNAME = 40

/** Bodies are forms, or JSON by Fastify's own parser. Plain text would read as an empty form, so it is refused. */
export function acceptForms (app: FastifyInstance): void {
  app.removeContentTypeParser('text/plain')
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
}

/** A member of a parsed body, whatever the body is. */
export function member (body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null && Object.hasOwn(body, name) ? Reflect.get(body, name) : undefined
}

/** The same, but a form field left empty counts as absent. */
export function filledIn (body: unknown, name: string): unknown {
  const value = member(body, name)
  return value === '' ? undefined : value
}

/**
 * The name in a login, trimmed; `undefined` where it is none or too long. Who gives none gets one that nobody else has:
 * the same name is the same user.
 */
export function readUsername (body: unknown): string | undefined {
  const username = member(body, 'username') ?? ''
  if (typeof username !== 'string') return undefined
  const trimmed = username.trim()
  return trimmed.length > MAX_USERNAME ? undefined : trimmed || `Guest ${randomBytes(6).toString('hex')}`
}

/** Whole seconds, as a form has them (text) or JSON (a number). `15.9` and `10abc` are neither. */
export function readTtl (value: unknown): number | undefined {
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text !== 'string' || !/^\s*\d+\s*$/.test(text)) return undefined
  const ttl = Number(text)
  return ttl >= 1 && ttl <= MAX_TTL ? ttl : undefined
}
