/**
 * The routes of an application, for checking what they say of the session before the first request comes: in whatever
 * context, and before or after the plugin was registered.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { OptionError } from './errors.js'
import { meantBy } from './hints.js'
import { rootOf } from './root.js'
import { isDemanding } from './session/authentication.js'
import type { RouteRules } from './session/route.js'
import { isPlain } from './settings.js'

/** An instance of the plugin, and the context that it is registered in. */
interface Guard { context: FastifyInstance, decoratorName: string, rules: RouteRules }

class Routes {
  readonly #fromStart: boolean
  readonly #guards: Guard[] = []
  /** Where routes are listened for. */
  readonly #heard = new Set<FastifyInstance>()
  /** With the context that each belongs to. Read when the app is ready, because hooks of others may change them. */
  readonly #announced = new Map<RouteOptions, FastifyInstance>()

  /** @param fromStart whether routes are listened for since the app was made */
  constructor (fromStart: boolean) {
    this.#fromStart = fromStart
  }

  /** Notes the routes that are added from now on to a context, and to those that will be made inside of it. */
  listen (context: FastifyInstance): void {
    const announced = this.#announced
    context.addHook('onRoute', function (this: FastifyInstance, route) { announced.set(route, this) })
    this.#heard.add(context)
  }

  /** Has the routes checked by an instance when the app is ready. */
  guard (guard: Guard): void {
    const root = rootOf(guard.context)
    if (this.#guards.length === 0) root.addHook('onReady', async () => { this.#check() })
    this.#guards.push(guard)
    // Contexts that exist already do not inherit what the root listens to from now on.
    if (!this.#fromStart) for (const context of [root, guard.context]) if (!this.#heard.has(context)) this.listen(context)
  }

  #check (): void {
    const names = [...new Set(this.#guards.map((guard) => guard.decoratorName))]
    for (const route of this.#announced.keys()) assertPlace(route, names)
    for (const decoratorName of names) {
      const guards = this.#guards.filter((guard) => guard.decoratorName === decoratorName)
      for (const [{ method, url, config }, context] of this.#announced) {
        const guard = guards.find((guard) => isWithin(context, guard.context))
        const route = nameOf(method, url)
        const rule = (guard ?? guards[0]!).rules.check(config, route)
        if (guard === undefined && isDemanding(rule)) {
          throw new OptionError(`${route}: config.${decoratorName}`, 'nothing guards this route: register the plugin in a context that the route belongs to')
        }
      }
    }
  }
}

function nameOf (method: RouteOptions['method'], url: string): string {
  return `${[method].flat().join(', ')} ${url}`
}

/** What a route says of the session where nobody would read it, beside `config` or under another name, guards nothing. */
function assertPlace ({ method, url, config, ...options }: RouteOptions, names: readonly string[]): void {
  for (const name of names) {
    if (asksFor((options as Record<string, unknown>)[name])) {
      throw new OptionError(`${nameOf(method, url)}: ${name}`, `it belongs into the route's config, or guards nothing: { config: { ${name}: … } }`)
    }
  }
  for (const [name, value] of Object.entries(config ?? {})) {
    if (names.includes(name) || !asksFor(value)) continue
    const meant = name === STANDARD ? names.join(' or config.') : meantBy(name, names)
    if (meant !== undefined) throw new OptionError(`${nameOf(method, url)}: config.${name}`, `no instance of the plugin has this name, so it guards nothing; did you mean config.${meant}?`)
  }
}

/** The option `decoratorName` where it is not given. */
const STANDARD = 'session'

/** Whether something looks like a rule that guards, well made or not. */
function asksFor (value: unknown): boolean {
  return isPlain(value) && ['elevated', 'maxAuthAge'].some((name) => value[name] !== undefined && value[name] !== false)
}

/** Contexts inherit from the one that they are in. */
function isWithin (context: FastifyInstance, outer: FastifyInstance): boolean {
  return context === outer || Object.prototype.isPrototypeOf.call(outer, context)
}

const known = new WeakMap<FastifyInstance, Routes>()

// Fastify tells of every app that is made, for whoever wants to add hooks to it from the start.
subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: FastifyInstance }
  const routes = new Routes(true)
  routes.listen(fastify)
  known.set(fastify, routes)
})

/**
 * Has the rules of all routes of an app checked before it is ready.
 *
 * Unknown are only routes that were added before this module was loaded and the plugin registered; `RouteRules` checks
 * those when their first request comes.
 *
 * @param context in which the instance of the plugin is registered
 * @throws OptionError (`SESSION_OPTION_INVALID`) when the app gets ready, see `RouteRules`; also where a rule guards
 *   nothing, because its route is in no context of the plugin, or because it stands where nobody reads it
 */
export function guardRoutes (context: FastifyInstance, decoratorName: string, rules: RouteRules): void {
  const root = rootOf(context)
  const routes = known.get(root) ?? new Routes(false)
  known.set(root, routes)
  routes.guard({ context, decoratorName, rules })
}
