/**
 * The option `migrateFrom`: where the sessions of another library are, and how to read its cookie. Part of the one
 * schema in `src/options.ts`.
 */
import { Type, type Static } from '@sinclair/typebox'
import { OptionError } from '../errors.js'
import { hintFor, type Known } from '../hints.js'
import { withDefaults, leaves, problemOf, type Settings } from '../settings.js'

/** The libraries whose sessions can be read, with the names of their cookies. */
const FORMATS = {
  'express-session': 'connect.sid',
  '@fastify/session': 'sessionId',
  '@mgcrea/fastify-session': 'Session'
} as const

/** Changes the data of an old session before they are stored; see the schema. */
export type Transform = (data: Record<string, unknown>) => Record<string, unknown> | undefined

/** One old system, in the order of the table in `src/migrate/README.md`. */
export const MigrationSchema = Type.Object({
  /**
   * Who wrote the cookie: `express-session`, `@fastify/session` or `@mgcrea/fastify-session`. What its store wrote is
   * told by the record itself.
   *
   * @default none: required
   */
  format: Type.Union([Type.Literal('express-session'), Type.Literal('@fastify/session'), Type.Literal('@mgcrea/fastify-session')]),
  /**
   * What the old library signs its cookie with. Several: all verify. Text stands for its UTF-8 bytes; for the option
   * `key` of `@mgcrea/fastify-session` give `Buffer.from(key, 'base64')`.
   *
   * @default none: required
   */
  secret: Type.Unsafe<string | Uint8Array | Array<string | Uint8Array>>(Type.Any()),
  /**
   * When to stop: a `Date`, or ISO text with a time zone (`2027-01-31`, `2027-01-31T12:00:00Z`). After that the old
   * cookie means nothing, and costs nothing.
   *
   * @default none: required
   */
  until: Type.Unsafe<Date | string>(Type.Any()),
  /**
   * What stands before the id in the keys of the old store, the `keyPrefix` of its client included.
   *
   * @default `sess:`
   */
  prefix: Type.String({ default: 'sess:', maxLength: 128 }),
  /** The old cookie, an object. */
  cookie: Type.Object({
    /**
     * Name of the old cookie. Has to be another one than `cookie.name`.
     *
     * @default `connect.sid`, `sessionId` or `Session`, as the library has it
     */
    name: Type.Optional(Type.String({
      pattern: '^[!#$%&\'*+\\-.^_`|~0-9A-Za-z]{1,128}$',
      expected: 'letters, digits and !#$%&\'*+-.^_`|~, at most 128'
    })),
    /**
     * Path of the old cookie: browsers drop a cookie only by the path that it was set with.
     *
     * @default `/`
     */
    path: Type.String({
      default: '/',
      pattern: '^/[\\x20-\\x3a\\x3c-\\x7e]{0,1023}$',
      expected: 'a path that begins with / and consists of printable ASCII without ;'
    }),
    /**
     * Domain of the old cookie, likewise.
     *
     * @default none
     */
    domain: Type.Optional(Type.String({
      pattern: '^\\.?[A-Za-z0-9-]+(?:\\.[A-Za-z0-9-]+)*$',
      maxLength: 255,
      expected: 'a domain name'
    }))
  }, { additionalProperties: false, default: {} }),
  /**
   * `true` copies instead of moving, and leaves the old cookie alone, for as long as processes of the old version
   * answer requests as well. `destroy()` ends both.
   *
   * @default `false`
   */
  keep: Type.Boolean({ default: false }),
  /**
   * `(data) => data`: changes the data before they are stored. `undefined`: this session is left where it is.
   *
   * @default data stay as they are
   */
  transform: Type.Optional(Type.Unsafe<Transform>(Type.Any()))
}, { additionalProperties: false })

type Complete = Static<typeof MigrationSchema>

/** One old system, as applications describe it. */
export interface MigrateFrom extends Omit<Settings<typeof MigrationSchema, 'cookie'>, 'format' | 'secret' | 'until'>, Pick<Complete, 'format' | 'secret' | 'until'> {}

/** A checked description of an old system. */
export interface ResolvedMigration extends Omit<Complete, 'secret' | 'until' | 'cookie' | 'transform'> {
  secrets: Array<string | Buffer>
  /** Milliseconds since 1970. */
  until: number
  cookie: { name: string, path: string, domain?: string }
  transform: Transform
}

/**
 * Completes and checks the option `migrateFrom`.
 *
 * @param given one description, several, or nothing
 * @param cookieName name of this plugin's own cookie
 * @param warnings gets a line for what is allowed and pointless
 * @returns those whose time has not passed yet
 * @throws OptionError (`SESSION_OPTION_INVALID`), which names the option, never a secret
 */
export function resolveMigrations (given: MigrateFrom | MigrateFrom[] | undefined, cookieName: string, warnings: string[]): ResolvedMigration[] {
  const list = given === undefined ? [] : Array.isArray(given) ? given : [given]
  const resolved = list.map((one, i) => resolve(one, Array.isArray(given) ? `migrateFrom[${i}]` : 'migrateFrom', cookieName))
  const names = resolved.map(({ cookie }) => cookie.name)
  if (new Set(names).size < names.length) throw new OptionError('migrateFrom', 'two of them have the same cookie.name')
  const now = Date.now()
  return resolved.filter(({ until }) => {
    if (now < until) return true
    warnings.push(`migrateFrom: its time ended on ${new Date(until).toISOString()}; remove it`)
    return false
  })
}

function resolve (given: MigrateFrom, option: string, cookieName: string): ResolvedMigration {
  const complete = withDefaults(MigrationSchema, given) as Complete
  const problem = problemOf(MigrationSchema, complete)
  if (problem !== undefined) {
    throw new OptionError([option, problem.path].filter(Boolean).join('.'), problem.unknown ? `unknown${hintFor(problem.path, KNOWN)}` : problem.message)
  }
  const { secret, until, cookie, transform = same, ...rest } = complete
  if (typeof transform !== 'function') throw new OptionError(`${option}.transform`, 'expected a function')
  const { name = FORMATS[complete.format], path, domain } = cookie
  if (name === cookieName) throw new OptionError(`${option}.cookie.name`, 'this is the name of the new cookie, too; give one of them another name')
  return {
    ...rest,
    secrets: readSecrets(secret, `${option}.secret`),
    until: readUntil(until, `${option}.until`),
    cookie: { name, path, ...(domain !== undefined && { domain }) },
    transform
  }
}

/** All settings, as hints speak of them. */
const KNOWN = [...leaves(MigrationSchema)].map(([path]): Known => [path.join('.'), path.join('.'), path.at(-1)!])

function same (data: Record<string, unknown>): Record<string, unknown> {
  return data
}

/** Whatever the old library took is taken: it is too late to ask for better ones. */
function readSecrets (secret: unknown, option: string): Array<string | Buffer> {
  const secrets = Array.isArray(secret) ? secret as unknown[] : [secret]
  if (secrets.length === 0) throw new OptionError(option, 'at least one is needed')
  return secrets.map((one) => {
    if (typeof one === 'string' && one !== '') return one
    if (one instanceof Uint8Array && one.length > 0) return Buffer.from(one)
    throw new OptionError(option, 'expected text or a Buffer that is not empty')
  })
}

/** Without a zone the same text would mean another moment on another machine; a date alone is UTC (ECMA-262, 21.4.1.32). */
const ISO = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/

function readUntil (until: unknown, option: string): number {
  const ms = until instanceof Date ? until.getTime() : typeof until === 'string' && ISO.test(until) ? Date.parse(until) : NaN
  if (Number.isNaN(ms)) throw new OptionError(option, 'expected a Date, or a date such as 2027-01-31 or 2027-01-31T12:00:00Z')
  return ms
}
