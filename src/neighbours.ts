/**
 * What two instances of the plugin in one application must not have in common: a cookie, because each would take the
 * other's for its own, and records, because a visitor of one would be let in by the other.
 */
import type { FastifyInstance } from 'fastify'
import type { ResolvedMigration } from './migrate/options.js'
import { optionError, type CookieOptions } from './options.js'
import { rootOf } from './root.js'
import { RedisStore } from './store/redis.js'
import type { Store } from './store/store.js'

/** Where a cookie is sent. */
interface Reach { name: string, path: string, domain?: string | undefined }

/** One instance of the plugin, as the others have to know it. */
interface Neighbour {
  decoratorName: string
  cookie: Reach
  /** Those of the systems whose sessions it moves. */
  oldCookies: readonly Reach[]
  store: Store | undefined
}

/** By the root of the app, so that contexts beside each other are neighbours, too. */
const neighbours = new WeakMap<FastifyInstance, Neighbour[]>()

/**
 * Makes an instance known to those that come after it.
 *
 * @param context in which it is registered
 * @returns to be called with its store before that is used, which rejects in the same way
 * @throws OptionError (`SESSION_OPTION_INVALID`) where it has a cookie or records in common with one that came before
 */
export function settle (
  context: FastifyInstance,
  { decoratorName, cookie, migrateFrom }: { decoratorName: string, cookie: CookieOptions, migrateFrom: readonly ResolvedMigration[] }
): (store: Store) => Promise<void> {
  const root = rootOf(context)
  const others = neighbours.get(root) ?? []
  const own: Neighbour = { decoratorName, cookie, oldCookies: migrateFrom.map(({ cookie }) => cookie), store: undefined }
  for (const other of others) assertOwnCookie(own, other)
  neighbours.set(root, [...others, own])
  return async (store) => {
    for (const other of others) if (other.store !== undefined) await assertOwnRecords(store, other.store, called(other, own))
    own.store = store
  }
}

function assertOwnCookie (own: Neighbour, other: Neighbour): void {
  const { cookie: { name }, oldCookies } = own
  const it = called(other, own)
  if (collide(own.cookie, other.cookie)) {
    throw optionError('cookie.name', `${it} has the cookie ${name}, too: give one of them another name, in code, because variables apply to both`)
  }
  if (other.oldCookies.some((old) => collide(own.cookie, old))) {
    throw optionError('cookie.name', `${it} takes ${name} for the cookie of an old system, by its option migrateFrom: give this one another name`)
  }
  const old = oldCookies.find((old) => collide(old, other.cookie))
  if (old !== undefined) throw optionError('migrateFrom', `${it} has the cookie ${old.name}, so it is not that of an old system: give that instance another one`)
}

/** @param it what to call the other one */
async function assertOwnRecords (store: Store, other: Store, it: string): Promise<void> {
  if (store === other) throw optionError('redis', `${it} has the same store: give each instance one of its own`)
  if (store instanceof RedisStore && other instanceof RedisStore && await store.overlaps(other)) {
    throw optionError('prefix', `${it} keeps its sessions in the same Redis under the same prefix: give one of them another prefix, in code, because variables apply to both`)
  }
}

/** Where both have one name, they are in contexts beside each other, or the plugin was registered twice. */
function called ({ decoratorName }: Neighbour, own: Neighbour): string {
  return `${decoratorName === own.decoratorName ? 'another instance called' : 'the instance'} ${decoratorName}`
}

/** Whether a browser may send both with one request; without a domain, a cookie is for the host that set it. */
function collide (one: Reach, other: Reach): boolean {
  const within = (path: string, outer: string): boolean => path === outer || path.startsWith(outer.endsWith('/') ? outer : `${outer}/`)
  const domains = [one, other].flatMap(({ domain }) => domain === undefined ? [] : [domain.replace(/^\./, '').toLowerCase()])
  const [a = '', b = a] = domains
  return one.name === other.name &&
    (within(one.path, other.path) || within(other.path, one.path)) &&
    (a === b || a.endsWith(`.${b}`) || b.endsWith(`.${a}`))
}
