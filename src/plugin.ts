/**
 * The Fastify wiring: the decorators, `onRequest` and `onSend`. What happens in between is the session's business.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import fp from 'fastify-plugin'
import { DUPLICATE, findCookie } from './cookie/header.js'
import { hasTokenForm } from './cookie/token.js'
import { channels, type SessionEvents } from './diagnostics.js'
import { AssignmentError, DegradedError, StoreUnavailableError, TooEarlyError } from './errors.js'
import { assemble } from './instance.js'
import { resolveOptions, type SessionOptions } from './options.js'
import { isDemanding, refusalOf, type AuthenticationRule } from './session/authentication.js'
import { HeldPayload } from './response/held-payload.js'
import { hold, release } from './response/held-reply.js'
import { isWebResponse, writeHeaders } from './response/headers.js'
import { isSendable } from './response/sendable.js'
import { sessionProxy } from './session/proxy.js'
import { Session } from './session/session.js'
import { guardRoutes } from './routes.js'
import { RouteRules, type RouteSession } from './session/route.js'
import type { Session as PublicSession } from './session/types.js'
import { Sessions } from './sessions.js'
import { seldom } from './seldom.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** The session of this request; see `Session`. `null` assigned to it ends the session. */
    session: PublicSession
  }
  interface FastifyInstance {
    /** Sessions from outside a request; see `Sessions`. */
    sessions: Sessions
  }
  interface FastifyContextConfig {
    /**
     * For the plugin instance whose `decoratorName` is `session`; others go by their own names. Checked before the app is
     * ready.
     *
     * `false`: no cookie is read and Redis is not asked; the session is empty and cannot be changed.
     * Else an object with any of `touch`, `onStoreError`, `maxAuthAge` (seconds) and `elevated`.
     *
     * @default the session is loaded, and extended, for whoever has one
     */
    session?: RouteSession
  }
}

/** A request as this instance of the plugin decorates it; in contexts that were there before the plugin, nothing is there at first. */
type Decorated = FastifyRequest & Record<symbol, Session | FastifyReply | typeof SAVED | null | undefined>

/** In place of a session that nobody had looked at when the response was about to leave. */
const SAVED = Symbol('saved')

async function sessionPlugin (fastify: FastifyInstance, given: SessionOptions): Promise<void> {
  const options = resolveOptions(given, process.env)
  const { decoratorName } = options
  for (const warning of options.warnings) fastify.log.warn(`${decoratorName}: ${warning}`)

  const warn = seldom()
  const { instance, cookie, migrations } = await assemble(fastify, options, warn)
  const { signer } = instance
  const rules = new RouteRules(decoratorName, options.userField !== undefined)
  guardRoutes(fastify, decoratorName, rules)
  fastify.addHook('onClose', async () => {
    await instance.endings.close()
    await instance.takeBacks.close()
  })

  // One property each, known from the start, so that requests keep one shape.
  const kSession = Symbol(`${decoratorName} of the request`)
  const kReply = Symbol(`${decoratorName}: reply of the request`)
  fastify.decorateRequest(kSession, null)
  fastify.decorateRequest(kReply, null)
  fastify.decorateRequest(decoratorName, { getter: getSession, setter: setSession } as { getter: () => unknown })
  fastify.decorate(`${decoratorName}s`, new Sessions(instance))
  fastify.addHook('onRequest', beginRequest)
  fastify.addHook('onSend', saveSession)
  // A hook more for every request, so only where somebody would read what it says.
  if (saysSomething(fastify.log)) fastify.addHook('onResponse', warnOfLostChanges)

  /** The session of a request; `undefined` as long as it is not loaded. */
  function sessionOf (request: Decorated): Session | undefined {
    // In a context that was there before this plugin, requests have its hooks, but not its properties.
    const known = request[kSession] as Session | typeof SAVED | null | undefined
    if (known != null && known !== SAVED) return known.readable ? known : undefined
    const reply = request[kReply] as FastifyReply | null | undefined
    if (reply == null) return undefined
    const session = newSession(request, reply, rules.of(request))
    if (known === SAVED) session.seal()
    return session
  }

  function newSession (request: Decorated, reply: FastifyReply, route: RouteSession): Session {
    const session = new Session(instance, request, reply, route)
    request[kSession] = session
    return session
  }

  function getSession (this: FastifyRequest): PublicSession | undefined {
    const session = sessionOf(this as Decorated)
    return session && viewOf(session)
  }

  function setSession (this: FastifyRequest, value: unknown): void {
    if (value !== null) throw new AssignmentError(decoratorName)
    const session = sessionOf(this as Decorated)
    if (session === undefined) throw new TooEarlyError(decoratorName)
    session.endLater()
  }

  /** Loads the session, and holds it against what the route asks for. */
  function beginRequest (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    (request as Decorated)[kReply] = reply
    // Asked for once, because Fastify puts the answer together anew every time.
    const route = rules.of(request)
    loadSession(request, reply, route, isDemanding(route) ? guarded(request, route, done) : done)
  }

  /** Goes on where the session is what the route asks for. */
  function guarded (request: FastifyRequest, rule: AuthenticationRule, done: HookHandlerDoneFunction): HookHandlerDoneFunction {
    return (error) => {
      if (error !== undefined) {
        done(error)
        return
      }
      const session = sessionOf(request as Decorated)!
      viewOf(session)
      done(session.degraded ? new DegradedError() : refusalOf(rule, session.authentication))
    }
  }

  /** Loads the session where, and only where, a cookie came that this plugin issued. */
  function loadSession (request: FastifyRequest, reply: FastifyReply, route: RouteSession, done: HookHandlerDoneFunction): void {
    const header = request.raw.headers.cookie
    if (header === undefined || route === false || !cookie.reaches(request)) {
      done()
      return
    }
    const value = findCookie(header, cookie.name)
    if (value === undefined) {
      if (migrations === undefined) done()
      else loadMoved(request, done)
      return
    }
    const session = newSession(request as Decorated, reply, route)
    session.noteCookie()
    if (value === DUPLICATE) {
      reject('duplicate')
      warn('duplicate', () => { request.log.warn('several session cookies came in one request; all were ignored: was cookie.domain or cookie.path changed? The next login puts that right. If nothing was changed, somebody on a sibling host may be trying something (cookie tossing)') })
      done()
      return
    }
    const token = signer.verify(value)
    if (token === undefined) {
      if (!hasTokenForm(value)) reject('malformed')
      else {
        reject('signature')
        warn('signature', () => { request.log.warn('a session cookie came whose signature no secret made; it was ignored (forged, or signed with a secret that was retired?)') })
      }
      if (migrations === undefined) done()
      else loadMoved(request, done)
      return
    }
    session.load(token, (reused) => {
      if (reused) reportReuse(request, token.id)
      if (migrations === undefined || reused || !session.isNew) done()
      else loadMoved(request, done)
    }, (error: Error) => { failLoading(request, session, token.id, error, done) })
  }

  /** Loads the session of another library, where its cookie came and none of ours was good for anything. */
  function loadMoved (request: FastifyRequest, done: HookHandlerDoneFunction): void {
    const moving = migrations?.move(request.raw.headers.cookie ?? '')
    if (moving === undefined) {
      done()
      return
    }
    const session = sessionOf(request as Decorated)!
    session.noteCookie()
    const fail = (error: Error): void => { failLoading(request, session, undefined, error, done) }
    moving.then((token) => {
      if (token === undefined) {
        done()
        return
      }
      // Its secret follows from the old cookie, and is renewed at the end of the request as in routine renewal: parallel
      // requests with the old cookie get the same successor.
      session.load(token, (reused) => {
        if (reused) reportReuse(request, token.id)
        done()
      }, fail, true)
    }, (error: Error) => { session.failLoading(error, fail) })
  }

  function reportReuse (request: FastifyRequest, sessionId: string | undefined): void {
    request.log.warn({ sessionId }, 'a session was ended: a secret was used that had been renewed before (theft?)')
  }

  /** Answers a request whose session could not be loaded, or lets its route go on without, where that is wanted. */
  function failLoading (request: FastifyRequest, session: Session, sessionId: string | undefined, error: Error, done: HookHandlerDoneFunction): void {
    if (!(error instanceof StoreUnavailableError && session.goesOnWithout(options.onStoreError))) {
      done(error)
      return
    }
    warn('degraded', () => { request.log.warn({ sessionId, code: error.code }, 'a session could not be loaded; the route goes on without it') })
    done()
  }

  function reject (reason: SessionEvents['rejected']['reason']): void {
    if (channels.rejected.hasSubscribers) channels.rejected.publish({ instance: decoratorName, reason })
  }

  /** Saves what changed, before the first byte of the response leaves. */
  function saveSession (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: (error?: Error | null, payload?: unknown) => void): void {
    const session = (request as Decorated)[kSession] as Session | typeof SAVED | null | undefined
    if (session == null || session === SAVED) {
      (request as Decorated)[kSession] = SAVED
      done()
      return
    }
    const first = !session.sealed
    // From here on changes would come too late for some of those who make them.
    session.seal()
    if (!first || !session.unfinished) {
      done(null, writeHeaders(reply, cookie, session.answer(statusOf(reply, payload)), payload))
      return
    }
    const sendable = isSendable(reply, payload)
    const status = sendable ? statusOf(reply, payload) : UNSENDABLE
    const held = new HeldPayload(payload)
    hold(reply)
    session.finish(status, !sendable || (status >= 500 && !options.saveOnError)).then(() => {
      release(reply)
      const error = held.release()
      payload = writeHeaders(reply, cookie, session.answer(status), payload)
      send(done, error, payload)
    }, (error: Error & { statusCode?: number }) => {
      // Fastify answers with the error now, and comes here again with that answer; unless this was the answer of an error
      // handler, whose status it would keep, and which is sent past all hooks.
      release(reply)
      held.close()
      reply.code(error.statusCode ?? 500)
      writeHeaders(reply, cookie, session.answer(reply.statusCode))
      send(done, error)
    })
  }

  /** Where the application wrote the response by hand, `saveSession` was not called. */
  function warnOfLostChanges (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    const session = (request as Decorated)[kSession] as Session | typeof SAVED | null | undefined
    // Where the browser went away first, the handler is still at it, and what it changes will be saved.
    if (session != null && session !== SAVED && !session.sealed && reply.raw.headersSent) session.warnOfLostChanges()
    done()
  }
}

/** A response that cannot be sent stands for the session like one that tells the browser to come again: it brings no cookie. */
const UNSENDABLE = 503

/**
 * Has Fastify go on with the response. What it cannot send, a header that HTTP does not carry for instance, it finds out
 * now, and throws to whoever called: where that is nobody any more, it is told as what it is, a failure of this response.
 */
function send (done: (error?: Error | null, payload?: unknown) => void, error: Error | undefined, payload?: unknown): void {
  try {
    if (error === undefined) done(null, payload)
    else done(error)
  } catch (unsendable) {
    done(unsendable as Error)
  }
}

/** What the application sees of a session. Once there is one, the answer depends on the cookie, and says so by `Vary`. */
function viewOf (session: Session): PublicSession {
  session.view ??= sessionProxy(session)
  return session.view
}

/** Whether warnings go anywhere: of a logger that is off, or too quiet for them, all quiet methods are the same one. */
function saysSomething (log: FastifyInstance['log']): boolean {
  return log.warn !== log.trace
}

/** A handler may also answer with a web `Response`, whose status Fastify takes over after this hook. */
function statusOf (reply: FastifyReply, payload: unknown): number {
  return isWebResponse(payload) ? payload.status : reply.statusCode
}

/** Server-side sessions for Fastify 5, kept in Redis. */
export default fp(sessionPlugin, { fastify: '5.x', name: 'fastify-live-session' })
