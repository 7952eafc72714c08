/**
 * The options: one TypeBox schema validates them, reads and converts their environment variables, gives the defaults and
 * makes the TypeScript type. The comments in it are what editors show, and the README's table is checked against them.
 */
import { Type, type Static, type TObject } from '@sinclair/typebox'
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { readEnvironment, textOf, variablesOf, type Environment } from './environment.js'
import { OptionError } from './errors.js'
import { hintFor, type Known } from './hints.js'
import { resolveMigrations, type MigrateFrom, type ResolvedMigration } from './migrate/options.js'
import { FieldSchema } from './session/schema.js'
import { isPlain, kindOf, leaves, problemOf, withDefaults, type Settings } from './settings.js'
import { isReserved } from './store/record.js'
import type { Rules, Store } from './store/store.js'
import type { UserFieldOption } from './users/user-field.js'

/** What the option `redis` takes. */
export type RedisOption = string | RedisOptions | Redis | Cluster | Store

/** No timeout is longer than this, seconds: ten years. */
export const MAX_TIMEOUT = 315_360_000

const CookieSchema = Type.Object({
  /**
   * Name of the cookie. Browsers accept a name beginning with `__Host-` only with Secure, path `/` and no domain.
   *
   * @default `__Host-session-id` where the attributes allow it, else `session-id`
   */
  name: Type.Optional(Type.String({ env: ['SESSION_COOKIE_ID', 'SESSION_COOKIE_NAME'] })),
  /**
   * Browsers send the cookie over https only. Never derived from request headers.
   *
   * @default `true`
   */
  secure: Type.Boolean({ env: ['SESSION_COOKIE_SECURE'], default: true }),
  /**
   * Scripts in the page cannot read the cookie.
   *
   * @default `true`
   */
  httpOnly: Type.Boolean({ env: ['SESSION_COOKIE_HTTP_ONLY'], default: true }),
  /**
   * Send the cookie to this domain and all its subdomains. Without it: to this host only.
   *
   * @default none
   */
  domain: Type.Optional(Type.String({ env: ['SESSION_COOKIE_DOMAIN'] })),
  /**
   * Send the cookie for this path and below.
   *
   * @default `/`
   */
  path: Type.String({ env: ['SESSION_COOKIE_PATH'], default: '/' }),
  /**
   * `lax`, `strict` or `none` (with `secure` only): whether other sites' requests carry the cookie.
   *
   * @default `lax`
   */
  sameSite: Type.Union([Type.Literal('lax'), Type.Literal('strict'), Type.Literal('none')], { env: ['SESSION_COOKIE_SAME_SITE'], default: 'lax' }),
  /**
   * One cookie per embedding site (CHIPS). Needs `secure` and `sameSite: 'none'`.
   *
   * @default `false`
   */
  partitioned: Type.Boolean({ env: ['SESSION_COOKIE_PARTITIONED'], default: false }),
  /**
   * `low`, `medium` or `high`: which cookies Chromium drops first.
   *
   * @default none
   */
  priority: Type.Optional(Type.Union([Type.Literal('low'), Type.Literal('medium'), Type.Literal('high')], { env: ['SESSION_COOKIE_PRIORITY'] })),
  /**
   * The cookie outlives the browser: Max-Age is what is left of the session. For single sessions: `session.remember()`.
   *
   * @default `false`
   */
  persistent: Type.Boolean({ env: ['SESSION_COOKIE_PERSISTENT'], default: false })
}, { additionalProperties: false, default: {} })

/** Every option, in the order of the README's table. */
export const OptionsSchema = Type.Object({
  /**
   * Signs the cookie. At least 32 bytes. Several (comma-separated in the variable): the first signs, all verify.
   *
   * @default none: required
   */
  secret: Type.Optional(Type.Unsafe<string | readonly string[]>(Type.Any({ env: ['SESSION_SECRET'], separator: ',' }))),
  /**
   * URL (`redis://`, `rediss://`, `redis+sentinel://h1,h2/name`, `redis+cluster://h1,h2`, `unix:///path`), ioredis
   * options, an ioredis client or Cluster, or a store. `memory:` keeps sessions in this process.
   *
   * @default `fastify.redis` if registered, else `redis://localhost:6379`
   */
  redis: Type.Optional(Type.Unsafe<RedisOption>(Type.Any({ env: ['SESSION_REDIS'] }))),
  /**
   * `require`: without Redis the app does not boot. `lazy`: it boots, and requests with a session are answered 503
   * until Redis is there.
   *
   * @default `require`
   */
  startup: Type.Union([Type.Literal('require'), Type.Literal('lazy')], { env: ['SESSION_STARTUP'], default: 'require' }),
  /**
   * Stands before the id in the key of every record.
   *
   * @default `session:`
   */
  prefix: Type.String({ env: ['SESSION_REDIS_PREFIX', 'SESSION_PREFIX'], default: 'session:', maxLength: 128 }),
  /**
   * Seconds: a session ends when nobody used it for this long. OWASP: 15 to 30 minutes where risk is low, less where it
   * is high.
   *
   * @default `1800`
   */
  idleTimeout: Type.Number({ env: ['SESSION_EXPIRE', 'SESSION_IDLE_TIMEOUT'], default: 1800, minimum: 1, maximum: MAX_TIMEOUT }),
  /**
   * Seconds: a session ends this long after its creation, however busy. At least `idleTimeout`. NIST SP 800-63B: at
   * most 12 hours at AAL3.
   *
   * @default `43200`
   */
  lifetime: Type.Number({ env: ['SESSION_LIFETIME'], default: 43200, minimum: 1, maximum: MAX_TIMEOUT }),
  /**
   * Seconds: how much longer than `idleTimeout` a session may last, so that not every request has to write to Redis.
   * Never shorter. 0: every request extends it, exactly.
   *
   * @default a 60th of `idleTimeout`, at most 60
   */
  touchInterval: Type.Optional(Type.Number({ env: ['SESSION_TOUCH_INTERVAL'], minimum: 0, maximum: MAX_TIMEOUT })),
  /**
   * Seconds between routine renewals of the secret in the cookie. 0: only when `session.rotate()` asks for it.
   *
   * @default `0`
   */
  rotateEvery: Type.Number({ env: ['SESSION_ROTATE_EVERY'], default: 0, minimum: 0, maximum: MAX_TIMEOUT }),
  /**
   * Seconds, with routine renewal: how long the old secret stays good after the new one was first used. Used after
   * that, the session ends.
   *
   * @default `10`
   */
  rotateGrace: Type.Number({ env: ['SESSION_ROTATE_GRACE'], default: 10, minimum: 0, maximum: MAX_TIMEOUT }),
  /** The attributes of the cookie, an object. */
  cookie: CookieSchema,
  /**
   * A TypeBox object schema. Changed fields have to fit it, and stored fields that do not fit read as absent.
   *
   * @default none
   */
  schema: Type.Optional(Type.Unsafe<TObject>(Type.Any())),
  /**
   * Moves sessions that another library wrote, when their browsers come: what and how in the [migration
   * guide](src/migrate/README.md).
   *
   * @default none
   */
  migrateFrom: Type.Optional(Type.Unsafe<MigrateFrom | MigrateFrom[]>(Type.Any())),
  /**
   * Whose a session is: the name of the data field that holds the user, or (in code) a function of the data that
   * returns a string, a number or `undefined`. With it, sessions can be listed and ended by user.
   *
   * @default none
   */
  userField: Type.Optional(Type.Unsafe<UserFieldOption>(Type.Any({ env: ['SESSION_USER_FIELD'] }))),
  /**
   * How many sessions a user may have at the same time. 0: any number. Needs `userField`.
   *
   * @default `0`
   */
  maxSessionsPerUser: Type.Integer({ env: ['SESSION_MAX_PER_USER', 'SESSION_MAX_SESSIONS_PER_USER'], default: 0, minimum: 0, maximum: 1000 }),
  /**
   * `end-oldest` or `refuse`: what a login beyond `maxSessionsPerUser` does. Refused, it is answered 403.
   *
   * @default `end-oldest`
   */
  onLimit: Type.Union([Type.Literal('end-oldest'), Type.Literal('refuse')], { env: ['SESSION_ON_LIMIT'], default: 'end-oldest' }),
  /**
   * Keep, in a user's session, browser and system of the login in words, and its network (the first 24 bits of IPv4, 48
   * of IPv6).
   *
   * @default `false`
   */
  devices: Type.Boolean({ env: ['SESSION_DEVICES'], default: false }),
  /**
   * Name of the request's property. The server's is the same with an `s`: `fastify.sessions`.
   *
   * @default `session`
   */
  decoratorName: Type.String({
    env: ['SESSION_DECORATOR_NAME'],
    default: 'session',
    pattern: '^[A-Za-z_$][A-Za-z0-9_$]*$',
    expected: 'letters, digits, _ and $, not beginning with a digit'
  }),
  /**
   * Save what a handler changed although it threw or answered 5xx. Without it, only its own `save()` and live writes
   * count.
   *
   * @default `false`
   */
  saveOnError: Type.Boolean({ env: ['SESSION_SAVE_ON_ERROR'], default: false }),
  /**
   * What a request gets whose session cannot be loaded because the store does not answer. `fail`: 503 before its
   * handler runs. `anonymous`: an empty session that cannot be changed. Better set for single routes.
   *
   * @default `fail`
   */
  onStoreError: Type.Union([Type.Literal('fail'), Type.Literal('anonymous')], { env: ['SESSION_ON_STORE_ERROR'], default: 'fail' }),
  /**
   * Milliseconds that Redis has for one command before the request is answered 503.
   *
   * @default `250`
   */
  timeout: Type.Integer({ env: ['SESSION_TIMEOUT'], default: 250, minimum: 10, maximum: 600_000 }),
  /**
   * How many fields a session may have. Up to about 500 keep Redis' compact encoding.
   *
   * @default `100`
   */
  maxFields: Type.Integer({ env: ['SESSION_MAX_FIELDS'], default: 100, minimum: 1, maximum: 1000 }),
  /**
   * Bytes of one field, name and text. Up to 64 keep Redis' compact encoding.
   *
   * @default `16384`
   */
  maxFieldSize: Type.Integer({ env: ['SESSION_MAX_FIELD_SIZE'], default: 16384, minimum: 64 }),
  /**
   * Bytes of all fields of a session together.
   *
   * @default `65536`
   */
  maxRecordSize: Type.Integer({ env: ['SESSION_MAX_RECORD_SIZE'], default: 65536, minimum: 64 }),
  /**
   * How deep arrays and objects in one field may be nested.
   *
   * @default `16`
   */
  maxDepth: Type.Integer({ env: ['SESSION_MAX_DEPTH'], default: 16, minimum: 1, maximum: 100 })
}, { additionalProperties: false })

type Complete = Static<typeof OptionsSchema>

/**
 * The plugin's options, as `fastify.register(sessionPlugin, options)` takes them: all may be left out, or be `undefined`.
 * (Not so `prefix`, by its type: Fastify has an option of that name, and does not take `undefined` for it.)
 */
export interface SessionOptions extends Omit<Settings<typeof OptionsSchema, 'cookie'>, 'prefix'>, Partial<Pick<Complete, 'prefix'>> {}

/** Checked cookie options; the name is decided. */
export type CookieOptions = Static<typeof CookieSchema> & { name: string }

/** Checked options with all defaults filled in. */
export interface ResolvedOptions extends Omit<Complete, 'secret' | 'cookie' | 'touchInterval' | 'schema' | 'migrateFrom'> {
  secrets: readonly string[]
  cookie: CookieOptions
  schema: FieldSchema | undefined
  rules: Rules
  /** The old systems whose time has not passed. */
  migrateFrom: readonly ResolvedMigration[]
  /** What is allowed but deserves a line in the log at boot. */
  warnings: readonly string[]
}

/** Secrets that documentation shows. Whoever copies them shares them with everybody. */
const SAMPLE_SECRETS = new Set([
  'replace-this-sample-by-a-secret-of-your-own',
  'another-sample-to-be-replaced-by-your-own-secret'
])
const MIN_SECRET_BYTES = 32
const NEW_SECRET = 'make one with: node -p "require(\'crypto\').randomBytes(32).toString(\'hex\')"'

/**
 * Completes and checks the options.
 *
 * @param given what the application passed; wins over the environment
 * @param environment usually `process.env`
 * @throws OptionError (`SESSION_OPTION_INVALID`), which names the option and its variables, never a secret
 */
export function resolveOptions (given: SessionOptions, environment: Environment): ResolvedOptions {
  const warnings: string[] = []
  const fromEnvironment = readEnvironment(OptionsSchema, environment, warnings)
  const merged = withDefaults(OptionsSchema, merge(fromEnvironment, ownOptions(given))) as Complete
  const problem = problemOf(OptionsSchema, merged)
  if (problem !== undefined) {
    throw optionError(problem.path, problem.unknown ? `unknown${hintFor(problem.path, KNOWN)}` : problem.message)
  }
  const { secret, cookie, touchInterval = Math.min(merged.idleTimeout / 60, 60), schema, migrateFrom, ...rest } = merged
  const secrets = checkSecrets(secret, secret === fromEnvironment['secret'])
  if (typeof secret === 'string' && secret.includes(',') && secret === textOf(OptionsSchema, 'secret', environment)) {
    warnings.push('the option secret is SESSION_SECRET as it stands, so one secret, commas and all: where the commas divide several, leave the option out')
  }
  checkTimes(merged, touchInterval)
  const fields = schema === undefined ? undefined : new FieldSchema(schema)
  checkUsers(merged, fields)
  if (environment['NODE_ENV'] === 'production') {
    if (!cookie.secure) warnings.push('cookie.secure is false in production: anybody on the network can read the cookie')
    if (merged.redis === 'memory:') warnings.push('sessions are kept in memory in production: they end with this process, and other processes do not know them')
  }
  const checkedCookie = checkCookie(cookie, warnings)
  return {
    ...rest,
    secrets,
    cookie: checkedCookie,
    schema: fields,
    migrateFrom: resolveMigrations(migrateFrom, checkedCookie.name, warnings),
    rules: {
      idleTimeout: merged.idleTimeout * 1000,
      touchInterval: touchInterval * 1000,
      lifetime: merged.lifetime * 1000,
      rotateEvery: merged.rotateEvery * 1000,
      rotateGrace: merged.rotateGrace * 1000,
      maxFields: merged.maxFields,
      maxRecordSize: merged.maxRecordSize,
      users: merged.userField !== undefined
    },
    warnings
  }
}

/** All options, as hints speak of them: by their path, and for those in a group also by their name alone. */
const KNOWN = [...leaves(OptionsSchema)].map(([path]): Known => [path.join('.'), path.join('.'), path.at(-1)!])

/** Fastify hands its own options of `register` to the plugin as well. */
function ownOptions (given: SessionOptions): Record<string, unknown> {
  const { logLevel, logSerializers, ...own } = given as Record<string, unknown>
  return own
}

/** What was given, over what the environment says; group by group, where a group was given. */
function merge (environment: Record<string, unknown>, given: Record<string, unknown>): Record<string, unknown> {
  const merged = { ...environment }
  for (const [name, value] of Object.entries(given)) {
    const below = merged[name]
    if (value !== undefined) merged[name] = isPlain(below) && isPlain(value) ? merge(below, value) : value
  }
  return merged
}

/** An error about an option (`SESSION_OPTION_INVALID`), which also names its variables. */
export function optionError (option: string, message: string): Error {
  const variables = variablesOf(OptionsSchema, option)
  return new OptionError(variables.length === 0 ? option : `${option} (${variables.join(' or ')})`, message)
}

/** @param split whether the secrets are the parts of one variable */
function checkSecrets (secret: unknown, split: boolean): string[] {
  const secrets: unknown[] = Array.isArray(secret) ? secret : secret === undefined ? [] : [secret]
  if (secrets.length === 0) throw optionError('secret', `required; ${NEW_SECRET}`)
  for (const [i, one] of secrets.entries()) {
    const problem = secretProblem(one)
    if (problem === undefined) continue
    const which = secrets.length === 1 ? '' : `number ${i + 1} of ${secrets.length}${split ? ', as the commas in the variable divide it' : ''}: `
    throw optionError('secret', which + problem)
  }
  return secrets as string[]
}

function secretProblem (secret: unknown): string | undefined {
  if (secret instanceof Uint8Array) return 'expected a string, not a Buffer: give secret.toString(\'hex\'), for instance'
  if (isPlain(secret) && 'sign' in secret) return 'expected a string, not a signer: give what it signs with'
  if (typeof secret !== 'string') return `expected a string, or an array of strings, not ${kindOf(secret)}`
  if (secret === '') return `it is empty; ${NEW_SECRET}`
  if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) return `it needs at least ${MIN_SECRET_BYTES} bytes; ${NEW_SECRET}`
  if (SAMPLE_SECRETS.has(secret)) return 'this is a sample from the documentation; make one of your own'
  if (new Set(secret).size < 4) return 'too few different characters; make a random one'
  return undefined
}

function checkTimes (options: Complete, touchInterval: number): void {
  if (options.lifetime < options.idleTimeout) {
    throw optionError('lifetime', `shorter than idleTimeout (${options.idleTimeout} s), which then never applies`)
  }
  if (touchInterval > options.idleTimeout) {
    throw optionError('touchInterval', `longer than idleTimeout (${options.idleTimeout} s)`)
  }
  if (options.rotateEvery > 0 && options.rotateEvery <= options.rotateGrace) {
    throw optionError('rotateEvery', `has to be longer than rotateGrace (${options.rotateGrace} s)`)
  }
}

function checkUsers ({ userField, maxSessionsPerUser, devices }: Complete, schema: FieldSchema | undefined): void {
  if (userField === undefined) {
    if (maxSessionsPerUser > 0) throw optionError('maxSessionsPerUser', 'needs the option userField')
    if (devices) throw optionError('devices', 'needs the option userField')
  } else if (typeof userField === 'string') {
    if (userField === '' || isReserved(userField)) throw optionError('userField', 'no data field can have this name')
    if (userField.includes('.')) throw optionError('userField', 'a name with a dot reads nothing inside of a field: give a function, (data) => data.user?.id for instance')
    if (schema?.allows(userField) === false) throw optionError('userField', 'the option schema has no such field, and allows no others')
  } else if (typeof userField !== 'function') {
    throw optionError('userField', `expected the name of a field or a function of the data, not ${kindOf(userField)}`)
  }
}

/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** RFC 1034, section 3.5, with the digits of RFC 1123; a leading dot is allowed and ignored (RFC 6265, section 5.2.3). */
const DOMAIN = /^\.?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i
/** Printable ASCII but `;` (RFC 6265, section 4.1.1). */
const PATH = /^\/[\x20-\x3a\x3c-\x7e]*$/

/** RFC 6265bis, sections 4.1.3 and 5.7: what browsers silently refuse is an error here. */
function checkCookie (cookie: Complete['cookie'], warnings: string[]): CookieOptions {
  const hostOnly = cookie.secure && cookie.path === '/' && cookie.domain === undefined
  const name = cookie.name ?? (hostOnly ? '__Host-session-id' : 'session-id')
  if (!TOKEN.test(name) || name.length > 128) throw optionError('cookie.name', 'only letters, digits and !#$%&\'*+-.^_`|~, at most 128')
  if (cookie.domain !== undefined && (!DOMAIN.test(cookie.domain) || cookie.domain.length > 255)) throw optionError('cookie.domain', 'no valid domain name')
  if (!PATH.test(cookie.path) || cookie.path.length > 1024) throw optionError('cookie.path', 'has to begin with / and consist of printable ASCII without ;')
  if (!cookie.secure) {
    if (cookie.sameSite === 'none') throw optionError('cookie.sameSite', 'browsers refuse none without cookie.secure')
    if (cookie.partitioned) throw optionError('cookie.partitioned', 'browsers refuse it without cookie.secure')
  }
  if (cookie.partitioned && cookie.sameSite !== 'none') {
    throw optionError('cookie.partitioned', 'needs cookie.sameSite none: a partitioned cookie is for embedded pages, where lax and strict are never sent')
  }
  checkPrefix(name.toLowerCase(), cookie, hostOnly, warnings)
  return { ...cookie, name }
}

/** Browsers compare prefixes without regard to case, so `__host-` is bound by the rules too. */
function checkPrefix (name: string, cookie: Complete['cookie'], hostOnly: boolean, warnings: string[]): void {
  const isHost = name.startsWith('__host-')
  const isHttp = name.startsWith('__http-') || name.startsWith('__host-http-')
  if (isHost && !hostOnly) {
    throw optionError('cookie.name', 'browsers refuse __Host- without cookie.secure, with a cookie.domain, or with another cookie.path than /')
  }
  if ((isHttp || name.startsWith('__secure-')) && !cookie.secure) throw optionError('cookie.name', 'browsers refuse this prefix without cookie.secure')
  if (isHttp && !cookie.httpOnly) throw optionError('cookie.name', 'browsers refuse this prefix without cookie.httpOnly')
  if (!isHost && !isHttp && /^_*(?:host|secure|http)[-_]/.test(name) && !name.startsWith('__secure-')) {
    warnings.push('cookie.name looks like a misspelt __Host- or __Secure- prefix, which browsers would enforce')
  }
}
