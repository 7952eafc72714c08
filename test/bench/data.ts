/** What every contender shares: the session data, the routes and what the runner tells a server process. */

/** Seconds that a session stays in Redis, in every contender. */
export const TTL = 1800

/** Signs the cookies of every contender that signs; nothing but this benchmark ever sees it. */
export const SECRET = 'a-secret-for-local-measurements-only-5f1c'

/** A usual session: 7 fields. */
export const SMALL = {
  userId: 'u_48213',
  name: 'Andrew Smith',
  email: 'andrew@example.com',
  role: 'admin',
  locale: 'en-GB',
  theme: 'dark',
  count: 3
}

/** A big session: 20 fields of 200 bytes. */
export const LARGE: Record<string, string> = Object.fromEntries(
  Array.from({ length: 20 }, (_, index) => {
    const number = String(index + 1).padStart(2, '0')
    const sentence = `field ${number} holds a line of plain text such as an address or a note; `
    return [`field${number}`, sentence.repeat(4).slice(0, 200)]
  })
)

/** The field of the big session that the route answers with. */
export const LARGE_FIELD = 'field13'

/** How the handlers look at a session, whatever library it came from. */
export interface BenchSession {
  [field: string]: unknown
  userId?: string
  count?: number
}

/** What every handler answers, so that all contenders serialize the same body. */
export interface Answer {
  value: unknown
}

/** What the runner hands to a server process. */
export interface StartOptions {
  /** The Redis of this run, with a database of the contender's own. */
  redis: string
  /** Where the built plugin is, as a file URL. */
  plugin: string
}

/** What a file in `contenders/` exports: it starts listening on a free local port and says which. */
export interface Contender {
  start: (options: StartOptions) => Promise<number>
}

/** A question from the runner to a server process. */
export type Question = 'cpu'

/** What a server process tells the runner. */
export type Message =
  | { type: 'ready', port: number }
  | { type: 'cpu', microseconds: number }
  | { type: 'failed', reason: string }
