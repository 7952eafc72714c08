/**
 * The options: one TypeBox schema validates them, reads and converts their environment variables, gives the defaults,
 * makes the TypeScript type, and is what the README's table is checked against.
 */
import { Type, type Static, type TObject, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { readEnvironment, variableOf, type Environment } from './environment.js'
import { OptionError } from './errors.js'
import { resolveMigrations, type MigrateFrom, type ResolvedMigration } from './migrate/options.js'
import { isReserved } from './store/record.js'
import type { Rules, Store } from './store/store.js'
import type { UserFieldOption } from './users/user-field.js'

/** What the option `redis` takes. */
export type RedisOption = string | RedisOptions | Redis | Cluster | Store

const CookieSchema = Type.Object({
  name: Type.Optional(Type.String({
    env: 'SESSION_COOKIE_ID',
    defaultText: '`__Host-session-id` where the attributes allow it, else `session-id`',
    description: 'Name of the cookie. Browsers accept a name beginning with `__Host-` only with Secure, path `/` and no domain.'
  })),
  secure: Type.Boolean({
    env: 'SESSION_COOKIE_SECURE',
    default: true,
    description: 'Browsers send the cookie over https only. Never derived from request headers.'
  }),
  httpOnly: Type.Boolean({
    env: 'SESSION_COOKIE_HTTP_ONLY',
    default: true,
    description: 'Scripts in the page cannot read the cookie.'
  }),
  domain: Type.Optional(Type.String({
    env: 'SESSION_COOKIE_DOMAIN',
    defaultText: 'none',
    description: 'Send the cookie to this domain and all its subdomains. Without it: to this host only.'
  })),
  path: Type.String({
    env: 'SESSION_COOKIE_PATH',
    default: '/',
    description: 'Send the cookie for this path and below.'
  }),
  sameSite: Type.Union([Type.Literal('lax'), Type.Literal('strict'), Type.Literal('none')], {
    env: 'SESSION_COOKIE_SAME_SITE',
    default: 'lax',
    description: '`lax`, `strict` or `none` (with `secure` only): whether other sites\' requests carry the cookie.'
  }),
  partitioned: Type.Boolean({
    env: 'SESSION_COOKIE_PARTITIONED',
    default: false,
    description: 'One cookie per embedding site (CHIPS). Needs `secure` and `sameSite: \'none\'`.'
  }),
  priority: Type.Optional(Type.Union([Type.Literal('low'), Type.Literal('medium'), Type.Literal('high')], {
    env: 'SESSION_COOKIE_PRIORITY',
    defaultText: 'none',
    description: '`low`, `medium` or `high`: which cookies Chromium drops first.'
  })),
  persistent: Type.Boolean({
    env: 'SESSION_COOKIE_PERSISTENT',
    default: false,
    description: 'The cookie outlives the browser: Max-Age is what is left of the session. For single sessions: `session.remember()`.'
  })
}, { additionalProperties: false, default: {} })

/** No timeout is longer than this, seconds: ten years. */
export const MAX_TIMEOUT = 315_360_000

/** Every option, in the order of the README's table. Times are seconds unless the text says otherwise. */
export const OptionsSchema = Type.Object({
  secret: Type.Optional(Type.Union([Type.String({ minLength: 1 }), Type.Array(Type.String({ minLength: 1 }), { minItems: 1 })], {
    env: 'SESSION_SECRET',
    defaultText: 'none: required',
    description: 'Signs the cookie. At least 32 bytes. Several (comma-separated in the variable): the first signs, all verify.'
  })),
  redis: Type.Optional(Type.Unsafe<RedisOption>(Type.Any({
    env: 'SESSION_REDIS',
    defaultText: '`fastify.redis` if registered, else `redis://localhost:6379`',
    description: 'URL (`redis://`, `rediss://`, `redis+sentinel://h1,h2/name`, `redis+cluster://h1,h2`), ioredis options, ' +
      'an ioredis client or Cluster, or a store. `memory:` keeps sessions in this process.'
  }))),
  startup: Type.Union([Type.Literal('require'), Type.Literal('lazy')], {
    env: 'SESSION_STARTUP',
    default: 'require',
    description: '`require`: without Redis the app does not boot. `lazy`: it boots, and requests with a session are answered 503 until Redis is there.'
  }),
  prefix: Type.String({
    env: 'SESSION_REDIS_PREFIX',
    default: 'session:',
    maxLength: 128,
    description: 'Stands before the id in the key of every record.'
  }),
  idleTimeout: Type.Number({
    env: 'SESSION_EXPIRE',
    default: 1800,
    minimum: 1,
    maximum: MAX_TIMEOUT,
    description: 'A session ends when nobody used it for this long. OWASP: 15 to 30 minutes where risk is low, less where it is high.'
  }),
  lifetime: Type.Number({
    env: 'SESSION_LIFETIME',
    default: 43200,
    minimum: 1,
    maximum: MAX_TIMEOUT,
    description: 'A session ends this long after its creation, however busy. At least `idleTimeout`. NIST SP 800-63B: at most 12 hours at AAL3.'
  }),
  touchInterval: Type.Optional(Type.Number({
    env: 'SESSION_TOUCH_INTERVAL',
    defaultText: 'a 60th of `idleTimeout`, at most 60',
    minimum: 0,
    maximum: MAX_TIMEOUT,
    description: 'How much longer than `idleTimeout` a session may last, so that not every request has to write to Redis. ' +
      'Never shorter. 0: every request extends it, exactly.'
  })),
  rotateEvery: Type.Number({
    env: 'SESSION_ROTATE_EVERY',
    default: 0,
    minimum: 0,
    maximum: MAX_TIMEOUT,
    description: 'Routine renewal of the secret in the cookie. 0: only when `session.rotate()` asks for it.'
  }),
  rotateGrace: Type.Number({
    env: 'SESSION_ROTATE_GRACE',
    default: 10,
    minimum: 0,
    maximum: MAX_TIMEOUT,
    description: 'Routine renewal: how long the old secret stays good after the new one was first used. Used after that, the session ends.'
  }),
  cookie: CookieSchema,
  schema: Type.Optional(Type.Unsafe<TObject>(Type.Any({
    defaultText: 'none',
    description: 'A TypeBox object schema. Changed fields have to fit it, and stored fields that do not fit read as absent.'
  }))),
  migrateFrom: Type.Optional(Type.Unsafe<MigrateFrom | MigrateFrom[]>(Type.Any({
    defaultText: 'none',
    description: 'Moves sessions that another library wrote, when their browsers come: what and how in the [migration guide](src/migrate/README.md).'
  }))),
  userField: Type.Optional(Type.Unsafe<UserFieldOption>(Type.Any({
    env: 'SESSION_USER_FIELD',
    defaultText: 'none',
    description: 'Whose a session is: the name of the data field that holds the user, or (in code) a function of the data that returns ' +
      'a string, a number or `undefined`. With it, sessions can be listed and ended by user.'
  }))),
  maxSessionsPerUser: Type.Integer({
    env: 'SESSION_MAX_PER_USER',
    default: 0,
    minimum: 0,
    maximum: 1000,
    description: 'How many sessions a user may have at the same time. 0: any number. Needs `userField`.'
  }),
  onLimit: Type.Union([Type.Literal('end-oldest'), Type.Literal('refuse')], {
    env: 'SESSION_ON_LIMIT',
    default: 'end-oldest',
    description: '`end-oldest` or `refuse`: what a login beyond `maxSessionsPerUser` does. Refused, it is answered 403.'
  }),
  devices: Type.Boolean({
    env: 'SESSION_DEVICES',
    default: false,
    description: 'Keep, in a user\'s session, browser and system of the login in words, and its network (the first 24 bits of IPv4, 48 of IPv6).'
  }),
  decoratorName: Type.String({
    env: 'SESSION_DECORATOR_NAME',
    default: 'session',
    pattern: '^[A-Za-z_$][A-Za-z0-9_$]*$',
    description: 'Name of the request\'s property. The server\'s is the same with an `s`: `fastify.sessions`.'
  }),
  saveOnError: Type.Boolean({
    env: 'SESSION_SAVE_ON_ERROR',
    default: false,
    description: 'Save what a handler changed although it threw or answered 5xx. Without it, only its own `save()` and live writes count.'
  }),
  onStoreError: Type.Union([Type.Literal('fail'), Type.Literal('anonymous')], {
    env: 'SESSION_ON_STORE_ERROR',
    default: 'fail',
    description: 'What a request gets whose session cannot be loaded because the store does not answer. `fail`: 503 before its handler runs. ' +
      '`anonymous`: an empty session that cannot be changed. Better set for single routes.'
  }),
  timeout: Type.Integer({
    env: 'SESSION_TIMEOUT',
    default: 250,
    minimum: 10,
    description: 'Milliseconds that Redis has for one command before the request is answered 503.'
  }),
  maxFields: Type.Integer({
    env: 'SESSION_MAX_FIELDS',
    default: 100,
    minimum: 1,
    maximum: 1000,
    description: 'How many fields a session may have. Up to about 500 keep Redis\' compact encoding.'
  }),
  maxFieldSize: Type.Integer({
    env: 'SESSION_MAX_FIELD_SIZE',
    default: 16384,
    minimum: 64,
    description: 'Bytes of one field, name and text. Up to 64 keep Redis\' compact encoding.'
  }),
  maxRecordSize: Type.Integer({
    env: 'SESSION_MAX_RECORD_SIZE',
    default: 65536,
    minimum: 64,
    description: 'Bytes of all fields of a session together.'
  }),
  maxDepth: Type.Integer({
    env: 'SESSION_MAX_DEPTH',
    default: 16,
    minimum: 1,
    maximum: 100,
    description: 'How deep arrays and objects in one field may be nested.'
  })
}, { additionalProperties: false })

type Complete = Static<typeof OptionsSchema>

/** The plugin's options, as `fastify.register(sessionPlugin, options)` takes them: all optional. */
export type SessionOptions = Partial<Omit<Complete, 'cookie'>> & { cookie?: Partial<Complete['cookie']> }

/** Checked cookie options; the name is decided. */
export type CookieOptions = Static<typeof CookieSchema> & { name: string }

/** Checked options with all defaults filled in. */
export interface ResolvedOptions extends Omit<Complete, 'secret' | 'cookie' | 'touchInterval' | 'migrateFrom'> {
  secrets: readonly string[]
  cookie: CookieOptions
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

/**
 * Completes and checks the options.
 *
 * @param given what the application passed; wins over the environment
 * @param environment usually `process.env`
 * @throws OptionError (`SESSION_OPTION_INVALID`), which names the option and its variable, never a secret
 */
export function resolveOptions (given: SessionOptions, environment: Environment): ResolvedOptions {
  const warnings: string[] = []
  const fromEnvironment = readEnvironment(OptionsSchema, environment, warnings)
  const merged = Value.Default(OptionsSchema, {
    ...fromEnvironment,
    ...withoutUndefined(ownOptions(given)),
    cookie: { ...fromEnvironment['cookie'] as object, ...withoutUndefined(given.cookie ?? {}) }
  }) as Complete
  const problem = Value.Errors(OptionsSchema, merged).First()
  if (problem !== undefined) {
    throw optionError(problem.path.slice(1).replaceAll('/', '.') || 'options', describe(problem.message, problem.schema))
  }
  const { secret, cookie, touchInterval = Math.min(merged.idleTimeout / 60, 60), migrateFrom, ...rest } = merged
  const secrets = checkSecrets(secret)
  checkTimes(merged, touchInterval)
  checkUsers(merged)
  if (environment['NODE_ENV'] === 'production') {
    if (!cookie.secure) warnings.push('cookie.secure is false in production: anybody on the network can read the cookie')
    if (merged.redis === 'memory:') warnings.push('sessions are kept in memory in production: they end with this process, and other processes do not know them')
  }
  const checkedCookie = checkCookie(cookie, warnings)
  return {
    ...rest,
    secrets,
    cookie: checkedCookie,
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

/** Fastify hands its own options of `register` to the plugin as well. */
function ownOptions (given: SessionOptions): SessionOptions {
  const { logLevel, logSerializers, ...own } = given as SessionOptions & { logLevel?: unknown, logSerializers?: unknown }
  return own
}

/** An error about an option, which also names its variable. */
function optionError (option: string, message: string): Error {
  const variable = variableOf(OptionsSchema, option)
  return new OptionError(variable === undefined ? option : `${option} (${variable})`, message)
}

function describe (message: string, schema: TSchema): string {
  const choices = (schema['anyOf'] as Array<{ const?: unknown }> | undefined)?.map(({ const: choice }) => choice)
  return choices?.every((choice) => choice !== undefined) === true ? `expected one of ${choices.join(', ')}` : message.charAt(0).toLowerCase() + message.slice(1)
}

function withoutUndefined<T extends object> (object: T): Partial<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Partial<T>
}

function checkSecrets (secret: string | string[] | undefined): string[] {
  if (secret === undefined) {
    throw optionError('secret', 'required. Make one with: node -p "require(\'crypto\').randomBytes(32).toString(\'hex\')"')
  }
  const secrets = typeof secret === 'string' ? [secret] : secret
  for (const one of secrets) {
    if (Buffer.byteLength(one) < MIN_SECRET_BYTES) throw optionError('secret', `each needs at least ${MIN_SECRET_BYTES} bytes`)
    if (SAMPLE_SECRETS.has(one)) throw optionError('secret', 'this is a sample from the documentation; make one of your own')
    if (new Set(one).size < 4) throw optionError('secret', 'too few different characters; make a random one')
  }
  return secrets
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

function checkUsers ({ userField, maxSessionsPerUser, devices }: Complete): void {
  if (userField === undefined) {
    if (maxSessionsPerUser > 0) throw optionError('maxSessionsPerUser', 'needs the option userField')
    if (devices) throw optionError('devices', 'needs the option userField')
  } else if (typeof userField === 'string') {
    if (userField === '' || isReserved(userField)) throw optionError('userField', 'no data field can have this name')
  } else if (typeof userField !== 'function') {
    throw optionError('userField', 'expected the name of a field or a function of the data')
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
