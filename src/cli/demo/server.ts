/** The demo's server: one app with the plugin, the page, and the small JSON interface under it. */
import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import sessionPlugin from '../../index.js'
import { look } from './answers.js'
import { addDevices, devicesOf } from './device-routes.js'
import { addExtras } from './extra-routes.js'
import { answerInPages } from './form-answers.js'
import { acceptForms, MAX_TTL, MAX_USERNAME } from './forms.js'
import { ENDPOINT_TTL, MAX_DEVICES, USER_FIELD, type DemoOptions } from './options.js'
import { CONTENT_SECURITY_POLICY, renderPage } from './page.js'
import { refuseOtherOrigins } from './same-origin.js'
import { addSessionRoutes } from './session-routes.js'

/** Idle timeout the page's form proposes, seconds: short enough to watch it end. */
const FORM_TTL = 15

/**
 * Builds the demo's app, ready for `listen` or `inject`.
 *
 * @param options where sessions are kept, and what the defaults are
 * @throws OptionError (`SESSION_OPTION_INVALID`) where the plugin refuses an option or a variable
 */
export async function buildDemo (options: DemoOptions): Promise<FastifyInstance> {
  const app = Fastify({ logger: options.logger ?? false })
  acceptForms(app)
  app.addHook('onRequest', setSecurityHeaders)
  refuseOtherOrigins(app)
  answerInPages(app)
  app.setErrorHandler(answerError)
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'Not found' }))
  // For request.cookies: without a session, the answers tell those who sent a cookie from those who did not.
  await app.register(fastifyCookie)
  await app.register(sessionPlugin, pluginOptions(options))
  addPage(app, options)
  addSessionRoutes(app, options)
  addExtras(app, options)
  addDevices(app, options)
  await app.ready()
  return app
}

function pluginOptions (options: DemoOptions) {
  return {
    redis: options.redis,
    ...options.secret !== undefined && { secret: options.secret },
    idleTimeout: options.ttl ?? ENDPOINT_TTL,
    lifetime: MAX_TTL,
    // Every use shows at once in the countdown; a real app would rather save the writes.
    touchInterval: 0,
    userField: USER_FIELD,
    devices: true,
    maxSessionsPerUser: MAX_DEVICES,
    cookie: {
      ...options.cookieName !== undefined && { name: options.cookieName },
      ...options.secureCookie !== undefined && { secure: options.secureCookie }
    }
  }
}

function setSecurityHeaders (_request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  reply.headers({
    'content-security-policy': CONTENT_SECURITY_POLICY,
    'x-content-type-options': 'nosniff',
    // With `no-referrer` browsers would send our own forms with `Origin: null` (Fetch Standard).
    'referrer-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
    // Every answer here depends on the session.
    'cache-control': 'no-store'
  })
  done()
}

/** Every error as `{ error: text }`, as the handlers below write theirs. What went wrong inside stays in the log. */
function answerError (error: Error & { statusCode?: number }, request: FastifyRequest, reply: FastifyReply): void {
  const status = error.statusCode ?? 500
  // An absent store (503) the plugin has reported already, once instead of for every request.
  if (status === 500) request.log.error(error)
  reply.code(status).send({ error: status === 500 ? 'Something went wrong; the server has logged it' : error.message })
}

function addPage (app: FastifyInstance, options: DemoOptions): void {
  const page = async (request: FastifyRequest, reply: FastifyReply): Promise<string> => {
    const viewed = request.session.isNew ? undefined : await look(request, reply)
    const session = viewed && { ...viewed, devices: await devicesOf(request) }
    reply.type('text/html; charset=utf-8')
    return renderPage({ session, inMemory: options.redis === 'memory:', formTtl: options.ttl ?? FORM_TTL, maxUsername: MAX_USERNAME, maxTtl: MAX_TTL })
  }
  app.get('/', page)
  app.get('/index.html', page)
}
