/**
 * The application under test: one route that does to the session what the request's body says, step by step. So what
 * clients do is data, which can be generated, shrunk and replayed.
 */
import { Readable } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type * as product from '../../src/index.js'
import type { SessionOptions } from '../../src/index.js'
import type { Lines } from '../support/app.js'
import { Gate } from '../support/browser.js'

/** What the package exports: its own sources, or a mutated copy of them. */
export type Product = typeof product

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

/** One thing that a handler does. */
export type Step =
  | readonly ['get' | 'has' | 'delete' | 'live.get' | 'live.delete' | 'live.take', string]
  | readonly ['set' | 'push' | 'live.set' | 'live.setIfAbsent' | 'live.append', string, Json]
  | readonly ['live.incr', string, number]
  | readonly ['assign', { readonly [name: string]: Json }]
  | readonly ['idle', number]
  | readonly ['regenerate', readonly string[]]
  | readonly ['remember', { readonly idleTimeout?: number, readonly lifetime?: number }]
  | readonly ['keys' | 'data' | 'clear' | 'touch' | 'rotate' | 'destroy' | 'reload' | 'save']
  /** Lets other requests go on for so many turns of the event loop. */
  | readonly ['yield', number]
  /** Waits at the gate of this application. */
  | readonly ['gate']

/** How a handler ends once its steps are done. */
export type Ending = 'ok' | 'bad request' | 'error reply' | 'throw' | 'stream' | 'hijack'

/** A request's body. */
export interface Script {
  readonly steps: readonly Step[]
  readonly ending?: Ending
  /** The steps are for visitors with a session only; others are told that they are anonymous. */
  readonly members?: boolean
}

/** What a successful request is answered. */
export interface Report {
  results: Json[]
  anonymous?: boolean
}

const SECRET = 'a secret of the model-based tests 5d21'

/** Which route, and so which `config.session`, a request goes to. */
export type Route = '/' | '/untouched' | '/off'

export interface Application {
  readonly app: FastifyInstance
  /** Where the step `gate` waits. Once open it stays open, so each use takes a new one. */
  gate: Gate
}

export interface ApplicationOptions extends SessionOptions { lines?: Lines }

/** Starts the application. The caller closes it. */
export async function startApplication ({ sessionPlugin }: Product, { lines, ...options }: ApplicationOptions): Promise<Application> {
  const stream = { write: (line: string) => { lines?.push(JSON.parse(line)) } }
  const app = Fastify(lines === undefined ? {} : { logger: { level: 'trace', stream } })
  const application: Application = { app, gate: new Gate() }
  try {
    await app.register(sessionPlugin, { secret: SECRET, ...options, cookie: { secure: false, ...options.cookie } })
    const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => await perform(request, reply, application.gate)
    app.post('/', handler)
    app.post('/untouched', { config: { session: { touch: false } } }, handler)
    app.post('/off', { config: { session: false } }, handler)
    await app.ready()
  } catch (error) {
    await app.close()
    throw error
  }
  return application
}

async function perform (request: FastifyRequest, reply: FastifyReply, gate: Gate): Promise<unknown> {
  const { steps, ending = 'ok', members = false } = request.body as Script
  const session = request.session as any
  const report: Report = { results: [] }
  if (members && session.isNew) report.anonymous = true
  else {
    // A copy: later steps may change what this one gave.
    for (const step of steps) report.results.push(structuredClone(await take(session, step, gate) ?? null) as Json)
  }
  switch (ending) {
    case 'ok': return report
    case 'bad request': return reply.code(400).send(report)
    case 'error reply': return reply.code(500).send(report)
    case 'throw': throw new Error('the handler failed')
    case 'stream': return reply.type('application/json').send(Readable.from([JSON.stringify(report)]))
    case 'hijack':
      reply.hijack()
      await session.save()
      reply.raw.writeHead(200, { 'content-type': 'application/json' })
      reply.raw.end(JSON.stringify(report))
      return reply
  }
}

async function take (session: any, step: Step, gate: Gate): Promise<unknown> {
  const [kind, ...args] = step
  switch (step[0]) {
    case 'get': return session[step[1]]
    case 'has': return step[1] in session
    case 'keys': return Object.keys(session).sort()
    case 'data': return session.data()
    case 'set': session[step[1]] = step[2]; return
    case 'delete': delete session[step[1]]; return
    case 'assign': Object.assign(session, step[1]); return
    case 'push': {
      if (Array.isArray(session[step[1]])) session[step[1]].push(step[2])
      else session[step[1]] = [step[2]]
      return session[step[1]]
    }
    case 'idle': session.idleTimeout = step[1]; return
    case 'yield':
      for (let i = 0; i < step[1]; i++) await new Promise((resolve) => setImmediate(resolve))
      return
    case 'gate': await gate.pass(); return
    case 'live.append': return await session.live[step[1]].update((list: Json[] = []) => [...list, step[2]])
    case 'live.get': case 'live.set': case 'live.setIfAbsent': case 'live.incr': case 'live.delete': case 'live.take': {
      const [name, ...rest] = args as [string, ...unknown[]]
      return await session.live[name][kind.slice('live.'.length)](...rest)
    }
    default: return await session[kind](...args)
  }
}
