/**
 * What a route says of the session, in `config.session` or `config.<decoratorName>`: the form of it, checked once per
 * route. These rules guard, so what is not understood is refused, and never skipped.
 */
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { isDemanding } from './authentication.js'
import { OptionError } from '../errors.js'
import type { Instead, NoOthers } from '../exact.js'
import { hintFor, type Known } from '../hints.js'
import { MAX_TIMEOUT } from '../options.js'
import { isPlain, kindOf, leaves, problemOf, withDefaults, type Settings } from '../settings.js'

/** What a route may set. The comments are what editors show. */
export const RouteSchema = Type.Object({
  /**
   * Whether requests to this route extend the session.
   *
   * @default `true`
   */
  touch: Type.Optional(Type.Boolean()),
  /**
   * What a request gets whose session cannot be loaded because the store does not answer. `anonymous`: its handler runs
   * all the same, with an empty session that cannot be changed (`session.degraded` is `true`). `fail`: 503 before the
   * handler.
   *
   * @default the option `onStoreError`
   */
  onStoreError: Type.Optional(Type.Union([Type.Literal('fail'), Type.Literal('anonymous')])),
  /**
   * Seconds since the user was authenticated, at most: later, and without a user, 401. Needs the option `userField`.
   *
   * @default any time
   */
  maxAuthAge: Type.Optional(Type.Number({
    exclusiveMinimum: 0,
    maximum: MAX_TIMEOUT,
    expected: `a number of seconds above 0, at most ${MAX_TIMEOUT}`
  })),
  /**
   * Whether the session has to be elevated at this moment, by `session.elevate()`: else 403, and without a user 401. Needs
   * the option `userField`.
   *
   * @default `false`
   */
  elevated: Type.Optional(Type.Boolean())
}, { additionalProperties: false })

/** What a route may set, all of which may be left out. */
export interface RouteSettings extends Settings<typeof RouteSchema> {}

/** A name of its own, for messages of the compiler. */
interface NoOtherSettings extends NoOthers<RouteSettings> {}

/**
 * `config.session` of a route, for a second instance `config.<decoratorName>`. `false`: no cookie is read and the store is
 * not asked; the session is empty and cannot be changed.
 */
export type RouteSession = Instead<false, RouteSettings> | RouteSettings & NoOtherSettings | undefined

/** What the option `onStoreError` says. */
export type OnStoreError = 'fail' | 'anonymous'

const NAMES = [...leaves(RouteSchema)].map(([path]) => path[0]!)
const KNOWN = NAMES.map((name): Known => [name, name])

/** The rules of all routes, as one instance of the plugin reads them. */
export class RouteRules {
  readonly #name: string
  readonly #users: boolean
  /** Checked copies, which nobody can change any more, by the config that Fastify keeps of a route. */
  readonly #checked = new WeakMap<object, RouteSession>()

  /**
   * @param decoratorName under which a route's config is looked up
   * @param users whether the option `userField` is set
   */
  constructor (decoratorName: string, users: boolean) {
    this.#name = decoratorName
    this.#users = users
  }

  /**
   * The rule of the route that a request came to. Most were checked when the app booted; those that the plugin was never
   * told of are checked here, by their first request.
   *
   * @throws OptionError (`SESSION_OPTION_INVALID`) where it cannot be understood
   */
  of (request: FastifyRequest): RouteSession {
    const { config, method, url } = request.routeOptions
    const given = this.#given(config)
    if (given === undefined || given === false) return given
    let rule = this.#checked.get(config)
    if (rule === undefined) {
      rule = this.check(config, url === undefined ? 'setNotFoundHandler' : `${[method].flat().join(', ')} ${url}`)
      this.#checked.set(config, rule)
    }
    return rule
  }

  /**
   * Reads the rule in a route's config.
   *
   * @param route method and address, for the error
   * @throws OptionError (`SESSION_OPTION_INVALID`), which names the route, the setting, and what is allowed
   */
  check (config: object | undefined, route: string): RouteSession {
    const given = this.#given(config)
    if (given === undefined || given === false) return given
    const fail = (setting: string, message: string): never => {
      throw new OptionError([`${route}: config`, this.#name, setting].filter((part) => part !== '').join('.'), message)
    }
    if (!isPlain(given)) fail('', `expected false, or an object with ${NAMES.join(', ')}; not ${kindOf(given)}`)
    const rule = Object.freeze(withDefaults(RouteSchema, given)) as RouteSettings
    const problem = problemOf(RouteSchema, rule)
    if (problem !== undefined) fail(problem.path, problem.unknown ? `unknown; a route may set ${NAMES.join(', ')}${hintFor(problem.path, KNOWN)}` : problem.message)
    if (isDemanding(rule) && !this.#users) fail(rule.elevated === true ? 'elevated' : 'maxAuthAge', 'needs the option userField, which says whose a session is')
    return rule
  }

  #given (config: object | undefined): unknown {
    return (config as Record<string, unknown> | undefined)?.[this.#name]
  }
}
