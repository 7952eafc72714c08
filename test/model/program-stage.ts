/** Where programs run: the plugin in an application whose handler and hooks do what a program says. */
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type LightMyRequestResponse } from 'fastify'
import type { Store } from '../../src/index.js'
import type { RedisProcess } from '../support/redis-process.js'
import type { Json, Product } from './application.js'
import type { Cleanup } from './arenas.js'
import { Kinds } from './program-kinds.js'
import type { Oracle, Outcome } from './program-model.js'
import { LIMITS, type Answer, type LateStep, type Program, type Round, type Step, type Turn } from './programs.js'
import { UnsteadyStore } from './unsteady-store.js'

/** Milliseconds after which a request counts as one that is never answered. */
const PATIENCE = 2000

/** Seconds. */
const ROTATE_EVERY = 100
const ROTATE_GRACE = 10

export const COOKIE = 'session-id'

/** What a browser learns about its session by looking at it. */
export interface Look {
  isNew: boolean
  data: Record<string, Json>
  idle: number
  elevated: boolean
  authenticated?: number
}

/** One request, while it runs. */
export class Run {
  readonly round: Round
  readonly oracle: Oracle
  readonly kinds: Kinds
  /** Has another tab of the browser send a request. */
  readonly tab: (what: string) => Promise<void>
  /** What the program failed with. */
  thrown: { status: number, code: string | undefined } | undefined
  /** The program got as far as its first step, or its answer. */
  began = false
  /** The program looked at the session before the answer was ready. */
  looked = false
  concluded = false
  /** What a hook after the plugin's reads. */
  reads: Record<string, Json> | undefined
  stream: Readable | undefined
  readonly #later: Array<() => Promise<void>> = []
  #kept: unknown

  constructor (round: Round, oracle: Oracle, kinds: Kinds, tab: Run['tab']) {
    this.round = round
    this.oracle = oracle
    this.kinds = kinds
    this.tab = tab
  }

  /** Takes the steps of a hook; what it throws, the request fails with. */
  async hook (request: FastifyRequest, turns: readonly Turn[] | undefined): Promise<void> {
    this.began = true
    if (turns === undefined || this.thrown !== undefined) return
    await this.#failing(async () => { await this.#branch(request, turns) })
  }

  /** Takes the steps of the handler, one branch or several at the same time, and answers. */
  async handle (request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const { handler, sent, answer = { kind: 'text', status: 200 } } = this.round
    await this.#failing(async () => {
      const branches = await Promise.allSettled(handler.map(async (turns) => { await this.#branch(request, turns) }))
      const failed = branches.find(({ status }) => status === 'rejected')
      if (failed !== undefined) throw (failed as PromiseRejectedResult).reason
      await this.#join()
    })
    if (this.looked && this.oracle.quiet && (this.round.faults ?? []).length === 0) {
      const { session, session: { isNew } } = request
      const data = structuredClone(session.data()) as Record<string, Json>
      if (!this.oracle.reads((world) => world.gone || (sameJson(world.data(), data) && isNew === (world.current === undefined)))) {
        this.kinds.add('reads otherwise', () => `in the handler: ${JSON.stringify({ ...data, isNew })} is none of ${JSON.stringify(this.oracle.worlds.map((world) => world.data()))}`)
      }
    }
    const payload = this.#payload(reply, answer)
    if (sent === undefined) return payload
    reply.send(payload)
    for (const step of sent) this.#late(request, step, 'while it is being saved', reply)
    return reply
  }

  async #failing (run: () => Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      const { statusCode = 500, code } = error as { statusCode?: number, code?: string }
      this.thrown ??= { status: statusCode, code }
      throw error
    }
  }

  async #branch (request: FastifyRequest, turns: readonly Turn[]): Promise<void> {
    for (const turn of turns) await this.#take(request, turn)
  }

  async #join (): Promise<void> {
    while (this.#later.length > 0) await this.#later.shift()!()
  }

  async #take (request: FastifyRequest, { do: step, wait = 'now', caught = false }: Turn): Promise<void> {
    switch (step[0]) {
      case 'throw': throw Object.assign(new Error('the program throws'), { statusCode: step[1] })
      case 'yield':
        for (let i = 0; i < step[1]; i++) await turn()
        return
      case 'join': await this.#join(); return
    }
    if (!this.oracle.allows(step)) return
    this.looked = true
    const call = this.oracle.call(step)
    const settle = (outcome: Outcome): void => {
      const should = this.oracle.settle(call, outcome)
      if (should !== undefined) this.kinds.addOutcome(step, outcome, should)
    }
    const failed = (error: unknown): void => {
      const { code = 'no code', statusCode } = error as { code?: string, statusCode?: number }
      settle({ code })
      if (statusCode === undefined) this.kinds.add('fails without a reason', () => `${JSON.stringify(step)}: ${String(error)}`)
    }
    let result: unknown
    try {
      result = this.#invoke(request, step)
    } catch (error) {
      failed(error)
      if (!caught) throw error
      return
    }
    if (!(result instanceof Promise)) {
      settle({ result: undefined })
      return
    }
    const learn = async (): Promise<void> => {
      await (result as Promise<Json | undefined>).then((value) => { settle({ result: value === undefined ? undefined : structuredClone(value) }) }, (error: unknown) => {
        failed(error)
        if (!caught) throw error
      })
    }
    // What another tab does has to be over before anybody can say what comes next.
    if (wait === 'now' || step[0] === 'tab') {
      await learn()
      return
    }
    // An error that the program made itself, as under limits it may, is its own business.
    const unattended = this.oracle.worlds[0]!.rules.limits === undefined
    if (unattended && wait === 'forgotten') return
    if (unattended && wait === 'later') {
      this.#later.push(learn)
      return
    }
    const learnt = learn()
    learnt.catch(() => {})
    if (wait === 'later') this.#later.push(async () => { await learnt })
  }

  #invoke (request: FastifyRequest, step: Step): unknown {
    const session = request.session as any
    switch (step[0]) {
      case 'set': session[step[1]] = structuredClone(step[2]); return
      case 'delete': delete session[step[1]]; return
      case 'push':
        if (session.list === undefined) session.list = [step[2]]
        else session.list.push(step[2])
        return
      case 'nest':
        if (session.obj === undefined) session.obj = { [step[2]]: step[3] }
        else session.obj[step[2]] = step[3]
        return
      case 'hold': this.#kept = session.list; return
      case 'held': (this.#kept as Json[] | undefined)?.push(step[1]); return
      case 'null': (request as { session: unknown }).session = null; return
      case 'idle': session.idleTimeout = step[1]; return
      case 'remember': return session.remember({ idleTimeout: 60, lifetime: 600 })
      case 'elevate': return session.elevate(600)
      case 'regenerate': return session.regenerate(step[1])
      case 'live.append': return session.live.list.update((list: Json[] = []) => [...list, step[2]])
      case 'live.get': case 'live.set': case 'live.setIfAbsent': case 'live.incr': case 'live.delete': case 'live.take': {
        const [kind, name, ...rest] = step
        return session.live[name][kind.slice('live.'.length)](...rest)
      }
      case 'tab': return this.tab(step[1])
      default: return session[step[0]]()
    }
  }

  /** A change that comes too late has to be refused as long as anybody can be told. */
  #late (request: FastifyRequest, step: LateStep, where: string, reply?: FastifyReply): void {
    // Where nothing had to be saved, the response has left already: then the change is dropped.
    const left = reply?.raw.headersSent === true
    const refused = (error: unknown): void => {
      const { code } = error as { code?: string }
      if (code === 'SESSION_SEALED' || (this.round.off === true && code === 'SESSION_DISABLED')) return
      // A session that could not be loaded cannot be changed either.
      if (code === 'SESSION_DEGRADED' && !this.began) return
      this.kinds.add('is not refused', () => `${JSON.stringify(step)} ${where}: ${code ?? String(error)}`)
    }
    const accepted = (): void => { if (!left) this.kinds.add('is not refused', () => `${JSON.stringify(step)} ${where}`) }
    try {
      const result = this.#invoke(request, step)
      if (result instanceof Promise) result.then(accepted, refused)
      else accepted()
    } catch (error) {
      refused(error)
    }
  }

  #payload (reply: FastifyReply, { kind, status, cached }: Answer): unknown {
    const headers: Record<string, string> = cached === true ? { 'cache-control': 'public, max-age=60', vary: 'Accept-Encoding' } : {}
    if (kind === 'response') return new Response('ok', { status, headers })
    reply.code(status).headers(headers)
    switch (kind) {
      case 'text': return 'ok'
      case 'object': return { ok: true }
      case 'buffer': return Buffer.from('ok')
      case 'stream':
        this.stream = Readable.from(['o', 'k'])
        return this.stream
      case 'web stream': return new ReadableStream({ start (controller) { controller.enqueue(Buffer.from('ok')); controller.close() } })
      case 'broken':
        this.stream = new Readable({ construct (done) { setImmediate(done, new Error('no such file')) } })
        return this.stream
    }
  }

  /** In a hook that runs after the plugin's. */
  conclude (request: FastifyRequest, reply: FastifyReply): void {
    // The answer may fail while it is sent: then there is another one.
    if (this.concluded) return
    this.concluded = true
    if (reply.statusCode < 500 && this.looked && this.thrown === undefined) this.reads = structuredClone(request.session.data()) as Record<string, Json>
    for (const step of this.round.onSend ?? []) this.#late(request, step, 'after the plugin\'s hook')
  }

  /** The response left: nobody can be told any more. */
  over (request: FastifyRequest): void {
    for (const step of this.round.onResponse ?? []) {
      try {
        const result = this.#invoke(request, step)
        if (result instanceof Promise) result.catch(() => {})
      } catch (error) {
        // What needs a cookie says that it cannot be set any more.
        const { code } = error as { code?: string }
        if (this.began && this.round.off !== true && !(code === 'SESSION_HEADERS_SENT' && ['rotate', 'elevate', 'regenerate'].includes(step[0]))) this.kinds.add('throws after the response', () => `${JSON.stringify(step)}: ${code ?? String(error)}`)
      }
    }
  }
}

function sameJson (one: unknown, other: unknown): boolean {
  return canonical(one) === canonical(other)
}

/** The text of a value, its names in order. */
export function canonical (value: unknown): string {
  return JSON.stringify(value, (_, value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort()) : value)
}

declare module 'fastify' {
  interface FastifyRequest { run: Run | null }
}

/** One application per kind that programs ask for, over one store. */
export class Stage {
  readonly unsteady: UnsteadyStore
  readonly #product: Product
  readonly #apps = new Map<Program['app'], FastifyInstance>()
  readonly #empty: () => Promise<Store>
  /** How far the store's clock is put forward, milliseconds; means nothing where it cannot be. */
  ahead = 0
  /** Whether it can be, so that renewals come due. */
  readonly movesTime: boolean
  readonly #runs = new Map<string, Run>()
  #count = 0

  constructor (product: Product, store: Store, empty: () => Promise<Store>, movesTime: boolean) {
    this.movesTime = movesTime
    this.#product = product
    this.unsteady = new UnsteadyStore(store, product)
    this.#empty = empty
  }

  async app (kind: Program['app']): Promise<FastifyInstance> {
    const app = this.#apps.get(kind) ?? await this.#start(kind)
    this.#apps.set(kind, app)
    return app
  }

  /** An empty store. */
  async clear (): Promise<void> {
    this.ahead = 0
    this.unsteady.inner = await this.#empty()
  }

  async close (): Promise<void> {
    for (const app of this.#apps.values()) await app.close()
  }

  async #start (kind: Program['app']): Promise<FastifyInstance> {
    const app = Fastify()
    app.decorateRequest('run', null)
    app.addHook('onRequest', (request, _reply, done) => {
      request.run = this.#runs.get(request.headers['x-run'] as string) ?? null
      done()
    })
    await app.register(this.#product.sessionPlugin, {
      secret: 'a secret of the random programs 93ab',
      redis: this.unsteady.store,
      cookie: { secure: false, name: COOKIE },
      ...kind === 'limited' && LIMITS,
      ...kind === 'renewing' && { rotateEvery: ROTATE_EVERY, rotateGrace: ROTATE_GRACE },
      ...kind === 'users' && { userField: 'user', maxSessionsPerUser: 1, onLimit: 'refuse' as const }
    })
    app.addHook('onRequest', async (request) => { await request.run?.hook(request, request.run.round.onRequest) })
    app.addHook('preHandler', async (request) => { await request.run?.hook(request, request.run.round.preHandler) })
    app.addHook('preSerialization', async (request, _reply, payload) => {
      await request.run?.hook(request, request.run.round.preSerialization)
      return payload
    })
    app.addHook('onSend', (request, reply, _payload, done) => {
      request.run?.conclude(request, reply)
      done()
    })
    app.addHook('onResponse', (request, _reply, done) => {
      request.run?.over(request)
      done()
    })
    const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => await request.run!.handle(request, reply)
    app.get('/', handler)
    app.get('/off', { config: { session: false } }, handler)
    app.get('/tab/rotate', async ({ session }) => { await session.rotate() })
    app.get('/tab/destroy', async ({ session }) => { await session.destroy() })
    app.get('/tab/look', async ({ session }) => { session.data() })
    app.get('/login', async ({ session }) => {
      await session.regenerate()
      session.set('user', 'ann')
    })
    app.get('/look', async ({ session }): Promise<Look> => ({
      isNew: session.isNew,
      data: session.data() as Record<string, Json>,
      idle: session.idleTimeout,
      elevated: (session.elevatedUntil?.getTime() ?? 0) > Date.now(),
      ...session.authenticatedAt !== undefined && { authenticated: session.authenticatedAt.getTime() }
    }))
    await app.ready()
    return app
  }

  /** Lets a browser use the session until routine renewal has made its former secret worthless. */
  async renew (use: () => Promise<unknown>): Promise<void> {
    this.ahead += ROTATE_EVERY * 1000
    await use()
    await use()
    this.ahead += ROTATE_GRACE * 1000 + 1
    await use()
  }

  /** Sends the request of a run; `undefined` where it is never answered. */
  async perform (app: FastifyInstance, run: Run, cookie: string | undefined): Promise<LightMyRequestResponse | undefined> {
    const key = String(++this.#count)
    this.#runs.set(key, run)
    let timer: NodeJS.Timeout | undefined
    try {
      return await Promise.race([
        app.inject({ url: run.round.off === true ? '/off' : '/', headers: { 'x-run': key, ...cookie !== undefined && { cookie: `${COOKIE}=${cookie}` } } }),
        new Promise<undefined>((resolve) => { timer = setTimeout(resolve, PATIENCE, undefined) })
      ])
    } finally {
      clearTimeout(timer)
      this.#runs.delete(key)
    }
  }
}

/** A stage in memory. */
export function memoryStage (t: Cleanup, product: Product): Stage {
  const stage: Stage = new Stage(product, new product.MemoryStore(), async () => new product.MemoryStore({ now: () => Date.now() + stage.ahead }), true)
  t.teardown(async () => { await stage.close() })
  return stage
}

/** A stage in Redis, which belongs to it alone. */
export async function redisStage (t: Cleanup, product: Product, redis: RedisProcess): Promise<Stage> {
  const client = redis.client({ enableOfflineQueue: false, maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false })
  t.teardown(() => { client.disconnect() })
  if (client.status !== 'ready') await once(client, 'ready')
  const store = new product.RedisStore(client, { timeout: 5000 })
  const stage = new Stage(product, store, async () => {
    await client.flushdb()
    return store
  }, false)
  t.teardown(async () => { await stage.close() })
  return stage
}
