/**
 * The property view: data fields as plain properties, next to the session's own properties and methods.
 *
 * Own names win when reading, so no stored field can replace a method; assigning to one throws. Everything else is data,
 * whatever it is called: `__proto__`, `constructor`, `toString` and `then` mean nothing special here. What every object can
 * do, this one can as long as no field has that name. To whoever copies or prints it, it is a plain object with the data.
 */
import { inspect, type InspectOptions } from 'node:util'
import { ReservedPropertyError } from '../errors.js'
import type { Session } from './session.js'
import type { Session as PublicSession, SessionMethods } from './types.js'

/** The session's own names: every one of the interface, and whether it is a method. */
const KINDS: Readonly<Record<keyof SessionMethods, 'value' | 'method'>> = {
  id: 'value',
  isNew: 'value',
  degraded: 'value',
  createdAt: 'value',
  lastAccessedAt: 'value',
  expiresAt: 'value',
  idleTimeout: 'value',
  authenticatedAt: 'value',
  elevatedUntil: 'value',
  signal: 'value',
  live: 'value',
  get: 'method',
  set: 'method',
  has: 'method',
  data: 'method',
  toJSON: 'method',
  save: 'method',
  reload: 'method',
  touch: 'method',
  clear: 'method',
  destroy: 'method',
  rotate: 'method',
  elevate: 'method',
  regenerate: 'method',
  remember: 'method'
}
/** The same as a Map: names like `constructor` mean nothing to it, and it stays fast for any name. */
const OWN: ReadonlyMap<string, 'value' | 'method'> = new Map(Object.entries(KINDS))

/** What every object can do, for a session without fields of these names. */
const INHERITED: ReadonlyMap<string, unknown> = new Map(
  (['hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', 'toLocaleString', 'toString', 'valueOf'] as const).map((name) => [name, Object.prototype[name]])
)

type Name = keyof SessionMethods

/** A proxy has to have a target. This one keeps the session where no name can reach it. */
class Target {
  readonly #session: Session

  constructor (session: Session) {
    this.#session = session
  }

  static session (target: Target): Session {
    return target.#session
  }

  /** How to print the session. Looked up on the target, past the proxy; called on either, depending on who prints. */
  get [inspect.custom] () {
    return (depth: number, options: InspectOptions): string => print(this.#session, { ...options, depth })
  }
}

const HANDLER: ProxyHandler<Target> = {
  get (target, name) {
    const session = Target.session(target)
    if (typeof name === 'symbol') return symbolProperty(target, name)
    const kind = OWN.get(name)
    if (kind === undefined) return dataProperty(session, name)
    const own = session[name as Name] as unknown
    return kind === 'method' ? (own as (...args: unknown[]) => unknown).bind(session) : own
  },

  set (target, name, value) {
    if (typeof name === 'symbol') return false
    if (name === 'idleTimeout') Target.session(target).idleTimeout = value as number
    else if (OWN.has(name)) throw new ReservedPropertyError(name, name)
    else Target.session(target).set(name, value)
    return true
  },

  deleteProperty (target, name) {
    if (typeof name === 'symbol') return true
    if (OWN.has(name)) throw new ReservedPropertyError(name, name)
    Target.session(target).set(name, undefined)
    return true
  },

  has (target, name) {
    return typeof name === 'string' && Target.session(target).has(name)
  },

  ownKeys (target) {
    return Target.session(target).names()
  },

  getOwnPropertyDescriptor (target, name) {
    const value = typeof name === 'string' ? Target.session(target).get(name) : undefined
    return value === undefined ? undefined : { value, enumerable: true, configurable: true, writable: true }
  },

  defineProperty (target, name, descriptor) {
    return 'value' in descriptor && (HANDLER.set as NonNullable<ProxyHandler<Target>['set']>)(target, name, descriptor.value, undefined)
  },

  getPrototypeOf: () => Object.prototype,
  setPrototypeOf: () => false,
  preventExtensions: () => false
}

/** The object that applications see as `request.session`. */
export function sessionProxy (session: Session): PublicSession {
  return new Proxy(new Target(session), HANDLER) as unknown as PublicSession
}

function dataProperty (session: Session, name: string): unknown {
  // A session that is not loaded has no data, but whoever prints it gets along.
  const value = INHERITED.has(name) && !session.readable ? undefined : session.get(name)
  return value === undefined ? INHERITED.get(name) : value
}

function symbolProperty (target: Target, name: symbol): unknown {
  if (name === inspect.custom) return target[inspect.custom]
  // `${request.session}`, also where a field is called toString.
  if (name === Symbol.toPrimitive) return () => '[object Session]'
  return undefined
}

/** Never throws: a line in the log shall not be why a request fails. */
function print (session: Session, options: InspectOptions): string {
  if (!session.readable) return 'Session { <not loaded> }'
  return `Session ${inspect({ id: session.id, isNew: session.isNew, ...session.data() }, options)}`
}
