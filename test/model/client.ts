/** A client with a jar that only Set-Cookie fills, and what has to hold for every answer that anybody gets. */
import { parseSetCookie } from '../support/set-cookie.js'
import type { Application, Json, Report, Route, Script } from './application.js'
import { hold } from './invariants.js'

/** The length of every token: `id.secret.signature`. */
const TOKEN_LENGTH = 22 + 1 + 32 + 1 + 43

/** What came back over the wire. */
export interface Raw {
  readonly status: number
  readonly setCookie: readonly string[]
  readonly body: string
}

/** Something that answers requests: an application in this process, or one in another. */
export type Send = (route: Route, script: Script, cookie?: string) => Promise<Raw>

/** What a client learns of an answer. */
export interface Answer {
  readonly status: number
  /** The code of an error. */
  readonly code: string | undefined
  readonly results: Json[]
  readonly anonymous: boolean
  /** What became of the cookie: a new token, `''` for cleared, `undefined` for nothing. */
  readonly cookie: string | undefined
}

/** Requests into an application of this process. */
export function into ({ app }: Application): Send {
  return async (url, script, cookie) => {
    const response = await app.inject({ method: 'POST', url, payload: script as object, ...(cookie !== undefined && { headers: { cookie } }) })
    const header = response.headers['set-cookie'] ?? []
    return { status: response.statusCode, setCookie: Array.isArray(header) ? header : [header], body: response.body }
  }
}

/** Sends a request and checks what holds for every answer. */
export async function request (send: Send, route: Route, script: Script, cookie?: string): Promise<Answer> {
  const { status, setCookie, body } = await send(route, script, cookie)
  // Where several cookies came, those of other domains and paths are dropped as well.
  const last = setCookie.at(-1)
  hold('I10', setCookie.every((line) => line === last || parseSetCookie(line).attributes.get('max-age') === '0'), () => `${setCookie.length} Set-Cookie lines in one answer`)
  hold('I10', status !== 503 || setCookie.length === 0, 'a 503 sets a cookie')
  let received: string | undefined
  for (const line of setCookie) {
    const { value, attributes } = parseSetCookie(line)
    const cleared = attributes.get('max-age') === '0'
    hold('I10', attributes.has('httponly') && attributes.get('samesite') === 'Lax' && (line !== last || attributes.get('path') === '/'), () => `attributes: ${line}`)
    hold('I10', cleared === (value === ''), () => `cleared and set at once: ${line}`)
    hold('I11', cleared || value.length === TOKEN_LENGTH, () => `a token of ${value.length} characters`)
    received = value
  }
  const json = parse(body)
  return {
    status,
    code: typeof json['code'] === 'string' ? json['code'] : undefined,
    results: (json as unknown as Partial<Report>).results ?? [],
    anonymous: json['anonymous'] === true,
    cookie: received
  }
}

function parse (body: string): Record<string, unknown> {
  try {
    return JSON.parse(body) as Record<string, unknown>
  } catch {
    return {}
  }
}

/** The Cookie header that carries a token. */
export function cookieHeader (token: string): string {
  return `session-id=${token}`
}

/** The id in a token. */
export function idOf (token: string): string {
  return token.slice(0, 22)
}

/** A browser: sends what its jar holds, and keeps what it is given. */
export class Client {
  token: string | undefined

  constructor (token?: string) {
    this.token = token
  }

  /** @param lost the answer gets lost on its way: this client learns nothing of it */
  async send (send: Send, script: Script, { route = '/', lost = false }: { route?: Route, lost?: boolean } = {}): Promise<Answer> {
    const answer = await request(send, route, script, this.token === undefined ? undefined : cookieHeader(this.token))
    if (!lost && answer.cookie !== undefined) this.token = answer.cookie === '' ? undefined : answer.cookie
    return answer
  }
}
