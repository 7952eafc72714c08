/**
 * What one plugin instance consists of, put together from its options.
 */
import fastifyCookie from '@fastify/cookie'
import type { FastifyInstance } from 'fastify'
import { SessionCookie } from './cookie/cookie.js'
import { TokenSigner } from './cookie/token.js'
import { connectMigrations } from './migrate/connect.js'
import type { Migrations } from './migrate/migration.js'
import { MovingCookie } from './migrate/moving-cookie.js'
import type { ResolvedMigration } from './migrate/options.js'
import { settle } from './neighbours.js'
import type { CookieOptions, ResolvedOptions } from './options.js'
import type { SessionInstance } from './session/context.js'
import { Endings } from './session/endings.js'
import type { FieldRules } from './session/snapshot.js'
import { TakeBacks } from './session/take-backs.js'
import { connectStore } from './store/connect.js'
import { WatchedStore } from './store/watched.js'
import { UserField } from './users/user-field.js'
import { UserIndex } from './users/user-index.js'

/** The parts that the hooks work with. */
export interface Assembled {
  /** What all sessions share. */
  instance: SessionInstance
  cookie: SessionCookie
  /** `undefined` where no old system is named. */
  migrations: Migrations | undefined
}

/**
 * Puts an instance together, and connects its store.
 *
 * @param warn writes a warning that anybody can provoke, but not every time
 * @throws OptionError (`SESSION_OPTION_INVALID`), see `settle`, `connectStore` and `connectMigrations`
 */
export async function assemble (fastify: FastifyInstance, options: ResolvedOptions, warn: (kind: string, write: () => void) => void): Promise<Assembled> {
  const { decoratorName } = options
  const settleStore = settle(fastify, options)
  const cookie = await makeCookie(fastify, options.cookie, options.migrateFrom)
  const connected = await connectStore(fastify, options.redis, options)
  await settleStore(connected)
  const store = new WatchedStore(connected, decoratorName)
  const fieldRules: FieldRules = {
    maxDepth: options.maxDepth,
    maxFieldSize: options.maxFieldSize,
    schema: options.schema,
    onMisfit: (name) => { warn(`misfit ${name}`, () => { fastify.log.warn({ field: name }, 'a stored session field does not fit the schema and reads as absent') }) }
  }
  const migrations = connectMigrations(options.migrateFrom, connected, {
    store,
    rules: options.rules,
    fieldRules,
    warn: (what, details) => { warn(`${what} ${JSON.stringify(details)}`, () => { fastify.log.warn(details, what) }) }
  })
  const instance: SessionInstance = {
    store,
    rules: options.rules,
    fieldRules,
    migrations,
    signer: new TokenSigner(options.secrets),
    cookie,
    persistent: options.cookie.persistent,
    users: options.userField === undefined
      ? undefined
      : new UserIndex({
        store,
        rules: options.rules,
        timeout: options.timeout,
        field: new UserField(options.userField),
        maxSessions: options.maxSessionsPerUser,
        onLimit: options.onLimit
      }),
    devices: options.devices,
    endings: new Endings(store),
    takeBacks: new TakeBacks(),
    warn
  }
  return { instance, cookie, migrations }
}

/**
 * The cookie, by the serializer of @fastify/cookie. That plugin is registered in a context of its own: applications may
 * register theirs, with their options, before or after this one.
 */
async function makeCookie (fastify: FastifyInstance, options: CookieOptions, migrations: readonly ResolvedMigration[]): Promise<SessionCookie> {
  const make = (serialize: FastifyInstance['serializeCookie']): SessionCookie =>
    migrations.length === 0 ? new SessionCookie(options, serialize) : new MovingCookie(options, serialize, migrations)
  let cookie: SessionCookie | undefined
  if (fastify.hasDecorator('serializeCookie')) return make(fastify.serializeCookie)
  await fastify.register(async (context) => {
    await context.register(fastifyCookie)
    cookie = make(context.serializeCookie)
  })
  return cookie!
}
