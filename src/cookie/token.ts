/**
 * The token, which is the cookie's value: `id.secret.signature`.
 *
 * The id names the record and may be logged. The secret proves that the browser owns it; the store knows only its
 * digest. The signature lets a request with an invented token fail here, before it costs the store anything.
 */
import { hash } from 'node:crypto'
import { Signer } from '@fastify/cookie'
import { randomText } from './random.js'

/** What a genuine token says. */
export interface Token {
  readonly id: string
  readonly secret: string
  /** SHA-256 of the secret, base64url: what the store compares. */
  readonly digest: string
  /** Signed with a key that only verifies any more: the browser should get a token with the current signature. */
  readonly outdated: boolean
}

/**
 * 16 bytes, 24 bytes and a SHA-256 HMAC, base64url: unreserved characters (RFC 3986, section 2.3), which nobody encodes or
 * quotes on the way. Of the last character of the id two bits count, and of that of the signature four: those that would
 * say the same are no token, so each has exactly one spelling.
 */
const FORM = /^[A-Za-z0-9_-]{21}[AQgw]\.[A-Za-z0-9_-]{32}\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

const TOKEN_LENGTH = 99

/**
 * Whether a value looks like a token, signed by whomever.
 *
 * @param value anything at all
 */
export function hasTokenForm (value: string): boolean {
  return value.length === TOKEN_LENGTH && FORM.test(value)
}

/** How many verified tokens are remembered, per generation. A browser sends the same one many times in a row. */
const REMEMBERED = 2048

/** A new id: 128 random bits (OWASP ASVS 5.0, 7.2.3). */
export function newId (): string {
  return randomText(16)
}

/** A new secret: 192 random bits. */
export function newSecret (): string {
  return randomText(24)
}

/**
 * What the store keeps of a secret. A plain hash is enough: nobody can try out 192 random bits.
 *
 * @returns SHA-256, base64url, 43 characters
 */
export function digestOf (secret: string): string {
  return hash('sha256', secret, 'base64url')
}

/** Where the signature begins, behind the dot. */
const SIGNATURE_AT = 22 + 1 + 32 + 1

/** @fastify/cookie signs in base64. */
function toUrl (token: string): string {
  return token.slice(0, SIGNATURE_AT) + token.slice(SIGNATURE_AT).replaceAll('+', '-').replaceAll('/', '_')
}

function fromUrl (token: string): string {
  return token.slice(0, SIGNATURE_AT) + token.slice(SIGNATURE_AT).replaceAll('-', '+').replaceAll('_', '/')
}

/** Signs and verifies tokens with the option `secret`: the first key signs, all verify. */
export class TokenSigner {
  readonly #signer: Signer
  /** Verified tokens: saves their HMAC and digest. It says nothing about the session, which the store is asked for every time. */
  #recent = new Map<string, Token>()
  #older = new Map<string, Token>()

  /** @param secrets at least one key, newest first */
  constructor (secrets: readonly string[]) {
    this.#signer = new Signer([...secrets])
  }

  /** The token for an id and its secret. */
  sign (id: string, secret: string): string {
    return toUrl(this.#signer.sign(`${id}.${secret}`))
  }

  /**
   * Takes a cookie's value apart.
   *
   * @param value anything at all
   * @returns `undefined` for whatever this plugin, with these keys, did not issue
   */
  verify (value: string): Token | undefined {
    if (value.length !== TOKEN_LENGTH) return undefined
    const known = this.#recent.get(value) ?? this.#older.get(value)
    if (known !== undefined) return known
    if (!FORM.test(value)) return undefined
    const { valid, renew } = this.#signer.unsign(fromUrl(value))
    if (!valid) return undefined
    const secret = value.slice(23, 55)
    const token = { id: value.slice(0, 22), secret, digest: digestOf(secret), outdated: renew }
    this.#remember(value, token)
    return token
  }

  #remember (value: string, token: Token): void {
    if (this.#recent.size >= REMEMBERED) {
      this.#older = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(value, token)
  }
}
