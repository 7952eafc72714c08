/**
 * The cookies of other session libraries: what is signed how. All three sign the id by HMAC-SHA256, in base64 without
 * padding, and put it behind the last dot; @fastify/cookie's signer does the same.
 */
import { hkdfSync } from 'node:crypto'
import { Signer } from '@fastify/cookie'
import { findCookie } from '../cookie/header.js'
import type { ResolvedMigration } from './options.js'

/** What a genuine old cookie says. */
export interface OldCookie {
  /** The id, under which the old store keeps its record. */
  readonly id: string
  /** Base64, 43 characters. Only the browser has it: the old store knows the id alone. */
  readonly signature: string
}

/** Longer values are none of theirs. */
const MAX_LENGTH = 1024
/** Longest id, in characters. The libraries' own have 21 and 32. */
const MAX_ID = 256

/** Reads one old system's cookie. */
export class OldCookieReader {
  readonly #name: string
  readonly #signer: Signer
  readonly #encodesId: boolean

  constructor ({ format, cookie, secrets }: Pick<ResolvedMigration, 'format' | 'cookie' | 'secrets'>) {
    this.#name = cookie.name
    this.#signer = new Signer(secrets as string[])
    this.#encodesId = format === '@mgcrea/fastify-session'
  }

  /**
   * The old cookie in a request, verified.
   *
   * @param header the Cookie header
   * @returns `undefined` where there is none, several (cookie tossing, see header.ts), or one that the old library did
   *   not sign
   */
  read (header: string): OldCookie | undefined {
    const value = findCookie(header, this.#name)
    if (typeof value !== 'string' || value.length > MAX_LENGTH) return undefined
    const signed = decoded(value)
    const dot = signed.lastIndexOf('.')
    if (dot < 1) return undefined
    // Express always writes `s:`, and @fastify/session where its cookiePrefix says so.
    const text = signed.slice(signed.startsWith('s:') ? 2 : 0, dot)
    const id = this.#encodesId ? fromBase64(text) : text
    const signature = signed.slice(dot + 1)
    if (id === undefined || id === '' || id.length > MAX_ID) return undefined
    return this.#signer.unsign(`${id}.${signature}`).valid ? { id, signature } : undefined
  }
}

/**
 * What the holder of an old cookie, and nobody else, can work out: the secret, and for copies the id, of the record that
 * its session moves to. So parallel requests agree without telling each other, and Redis, which knows the old id but not
 * its signature, holds nothing that could be used as a cookie.
 *
 * @returns 24 bytes and 16 bytes, base64url
 */
export function inheritance ({ id, signature }: OldCookie, prefix: string): { secret: string, id: string } {
  const bytes = Buffer.from(hkdfSync('sha256', signature, prefix + id, 'fastify-live-session migration', 40))
  return { secret: bytes.toString('base64url', 0, 24), id: bytes.toString('base64url', 24) }
}

function decoded (value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return ''
  }
}

/** Text from base64, in the one spelling that stands for it. */
function fromBase64 (text: string): string | undefined {
  const id = Buffer.from(text, 'base64').toString()
  return Buffer.from(id).toString('base64') === text ? id : undefined
}
