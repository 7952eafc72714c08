/**
 * Renewals while requests last: a browser with several tabs, whose answers come in any order or get lost, and requests that
 * stay open over any number of renewals, as WebSockets do. The clock is moved, so dozens of renewals take no time.
 *
 * One thing is kept out of it, because no server can help it: an answer that is under way while another one brings a newer
 * secret, and that secret is used, puts the older secret back into the jar. A browser that sends nothing for longer than the grace
 * then looks like a thief. Here it goes on at once, and is given the newer secret again.
 */
import { once } from 'node:events'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type LightMyRequestResponse } from 'fastify'
import type { Store } from '../../src/store/store.js'
import { setCookies } from '../support/browser.js'
import { EPOCH, stopClock } from '../support/redis-clock.js'
import type { RedisProcess } from '../support/redis-process.js'
import type { Product } from './application.js'
import type { Cleanup } from './arenas.js'
import { cookieHeader, idOf } from './client.js'
import { hold } from './invariants.js'

/** Seconds. */
const ROTATE_EVERY = 2
const ROTATE_GRACE = 1
/** Nothing expires here. Seconds. */
const FOREVER = 10_000_000

/** What an open request does at some moment. */
export type Act = 'reload' | 'live read' | 'live write' | 'save'

/** What happens next. Numbers pick one of those that there are at that moment. */
export type Step =
  /** A tab sends a request, with what the jar holds. */
  | ['send']
  /** A request arrives: its session is loaded. */
  | ['reach', number]
  /** A tab's request does something, or nothing, and its answer leaves. */
  | ['leave', number, Act | 'nothing']
  | ['arrive' | 'lose', number]
  | ['pass', number]
  /** So many renewals, each by a request that finds it due and one that confirms it. */
  | ['renew', number]
  /** So many tabs send requests when a renewal is due, and as many when its successor was offered. */
  | ['rush', number]
  /** A long request begins. The headers of its answer are sent already, or they are not. */
  | ['open', boolean]
  | ['act', number, Act]
  /** A long request ends. */
  | ['close', number]
  /** A tab's request, or a long one, rotates the secret. */
  | ['rotate', number | 'tab']

/** What a history ends with. */
export type Finale =
  | ['none']
  /** Somebody comes with a secret that was renewed away, after its grace. */
  | ['theft', number]
  | ['destroy', number | 'tab']

export interface LongHistory { readonly steps: readonly Step[], readonly finale: Finale }

/** An application under test, on a clock that is moved. */
export interface LongStage {
  readonly app: FastifyInstance
  readonly store: Store
  /** Requests that wait to go on, by number. */
  readonly waiting: Map<number, (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>>
  /** How many renewals there were. */
  renewals: number
  pass (ms: number): Promise<void>
}

/** Sessions in memory. */
export async function longMemory (t: Cleanup, product: Product): Promise<LongStage> {
  let now = EPOCH
  return await stage(t, product, new product.MemoryStore({ now: () => now }), async (ms) => { now += ms })
}

/** Sessions in a Redis that nobody else uses. */
export async function longRedis (t: Cleanup, product: Product, redis: RedisProcess): Promise<LongStage> {
  const client = redis.client({ enableOfflineQueue: false, maxRetriesPerRequest: 0 })
  t.teardown(() => { client.disconnect() })
  if (client.status !== 'ready') await once(client, 'ready')
  const clock = await stopClock(client)
  return await stage(t, product, new product.RedisStore(client, { timeout: 5000 }), clock.pass)
}

async function stage (t: Cleanup, { sessionPlugin }: Product, store: Store, pass: LongStage['pass']): Promise<LongStage> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sessionPlugin, {
    secret: 'a secret of the long requests 77e0', redis: store, cookie: { secure: false }, idleTimeout: FOREVER, lifetime: FOREVER, rotateEvery: ROTATE_EVERY, rotateGrace: ROTATE_GRACE
  })
  const waiting: LongStage['waiting'] = new Map()
  app.get<{ Params: { n: string } }>('/:n', async (request, reply) => await waiting.get(Number(request.params.n))!(request, reply))
  await app.ready()
  return { app, store, waiting, renewals: 0, pass }
}

let requests = 0

/** A request that waits in its handler. */
class OpenRequest {
  /** Which of the lineages it belongs to. */
  epoch: number
  readonly streaming: boolean
  session!: any
  readonly #answer: Promise<LightMyRequestResponse>
  #release: () => void = () => {}
  readonly #loaded: Promise<void>

  constructor ({ app, waiting }: LongStage, token: string | undefined, epoch: number, streaming = false) {
    this.epoch = epoch
    this.streaming = streaming
    const n = ++requests
    const released = new Promise<void>((resolve) => { this.#release = resolve })
    this.#loaded = new Promise((resolve) => {
      waiting.set(n, async (request, reply) => {
        waiting.delete(n)
        this.session = request.session
        if (streaming) {
          reply.hijack()
          reply.raw.writeHead(200)
        }
        resolve()
        await released
        if (streaming) reply.raw.end()
        return streaming ? reply : {}
      })
    })
    this.#answer = app.inject({ url: `/${n}`, ...token !== undefined && { headers: { cookie: cookieHeader(token) } } })
  }

  /** Resolves when the handler has the session. */
  async loaded (): Promise<this> {
    await Promise.race([this.#loaded, this.#answer.then(({ statusCode, body }) => { throw new Error(`answered ${statusCode} ${body}`) })])
    return this
  }

  /** Lets the handler go on to its end. */
  async leave (): Promise<{ status: number, cookie: string | undefined }> {
    this.#release()
    const answer = await this.#answer
    const [cookie, second] = setCookies(answer)
    hold('I10', second === undefined, 'two cookies')
    return { status: answer.statusCode, cookie: cookie?.value }
  }
}

const attempt = async <T>(run: () => Promise<T>): Promise<{ value?: T, code?: string }> => await run().then((value) => ({ value }), ({ code, message }) => ({ code: code ?? message }))

/** A history while it is played: the browser, what is open, and what has to be so. */
class Scene {
  readonly #stage: LongStage
  #jar: string | undefined
  /** The tokens of this lineage, in the order in which the browser got them; a renewal is confirmed by the use of the next. */
  #chain: string[] = []
  /** The one in `#chain` that was used last. */
  #confirmed = 0
  /** Tokens of the lineages before. */
  readonly #dead: string[] = []
  #epoch = 0
  #ended = false
  readonly #data = { n: 0, a: 0 }
  #sent: string[] = []
  readonly #tabs: OpenRequest[] = []
  readonly #long: OpenRequest[] = []
  /** What answers under way bring. */
  #coming: string[] = []

  constructor (stage: LongStage) {
    this.#stage = stage
  }

  async play ({ steps, finale }: LongHistory): Promise<void> {
    try {
      const first = await new OpenRequest(this.#stage, undefined, 0).loaded()
      Object.assign(first.session, this.#data)
      this.#arrive((await first.leave()).cookie!)
      for (const step of steps) await this.#take(step)
      await this.#settle()
      await this.#end(finale)
      for (const one of [...this.#long, ...this.#tabs]) await this.#look(one)
    } finally {
      for (const one of [...this.#long, ...this.#tabs]) await one.leave()
    }
  }

  async #take (step: Step): Promise<void> {
    switch (step[0]) {
      case 'send': this.#sent.push(this.#jar!); break
      case 'reach': {
        const token = pick(this.#sent, step[1], true)
        if (token !== undefined) this.#tabs.push(await this.#reach(token))
        break
      }
      case 'leave': {
        const tab = pick(this.#tabs, step[1], true)
        if (tab !== undefined) this.#coming.push(...await this.#leave(tab, step[2]))
        break
      }
      case 'arrive': {
        const token = pick(this.#coming, step[1], true)
        if (token !== undefined) this.#arrive(token)
        break
      }
      case 'lose': pick(this.#coming, step[1], true); break
      case 'pass':
        await this.#settle()
        await this.#stage.pass(step[1])
        break
      case 'renew':
        for (let i = 0; i < step[1]; i++) await this.#renew()
        break
      case 'rush': await this.#rush(step[1]); break
      case 'open': this.#long.push(await this.#reach(this.#jar!, step[1])); break
      case 'act': {
        const one = pick(this.#long, step[1])
        if (one !== undefined) await this.#act(one, step[2])
        break
      }
      case 'close': {
        const one = pick(this.#long, step[1], true)
        if (one !== undefined) for (const token of await this.#leave(one, 'nothing')) this.#arrive(token)
        break
      }
      case 'rotate': await this.#rotate(step[1]); break
    }
  }

  /** Loads the session with a token that is good. */
  async #reach (token: string, streaming = false): Promise<OpenRequest> {
    const one = await new OpenRequest(this.#stage, token, this.#epoch, streaming).loaded()
    hold('I8', one.session.isNew === false && one.session.id === idOf(token), 'routine renewal logged somebody out')
    this.#confirmed = Math.max(this.#confirmed, this.#chain.indexOf(token))
    await this.#look(one)
    return one
  }

  /** The tokens that the answer brings. */
  async #leave (one: OpenRequest, act: Act | 'nothing'): Promise<string[]> {
    const alive = this.#isIn(one)
    if (act === 'save') {
      // At the end, as most programs leave it.
      one.session.a = ++this.#data.a
      if (!alive) this.#data.a--
    } else if (act !== 'nothing') await this.#act(one, act)
    const { status, cookie } = await one.leave()
    hold('I16', status === (alive || act !== 'save' ? 200 : 409), () => `${act} was answered ${status}`)
    hold('I8', alive || cookie === undefined, 'a request of before rotate() brings a cookie')
    hold('I8', cookie !== '', 'routine renewal clears a cookie')
    return cookie === undefined ? [] : [cookie]
  }

  #arrive (token: string): void {
    this.#jar = token
    if (!this.#chain.includes(token)) this.#chain.push(token)
  }

  /** Lets all that is under way arrive, and the browser learn the newest secret. */
  async #settle (): Promise<void> {
    for (const token of this.#sent.splice(0)) this.#tabs.push(await this.#reach(token))
    for (const token of this.#coming.splice(0)) this.#arrive(token)
    for (let i = 0; this.#jar !== this.#chain.at(-1); i++) {
      hold('I8', i < 3, 'whoever comes with an older secret is not given the newest')
      await this.#visit()
    }
  }

  /** A quick request. */
  async #visit (): Promise<void> {
    const one = await this.#reach(this.#jar!)
    for (const token of await this.#leave(one, 'nothing')) this.#arrive(token)
  }

  /** Has a renewal be due. */
  async #fallDue (): Promise<void> {
    await this.#settle()
    // A successor that is due already comes, and one that waits for its first use is used.
    for (let i = 0; i < 2; i++) await this.#visit()
    await this.#stage.pass(ROTATE_EVERY * 1000 + 500)
  }

  async #rush (tabs: number): Promise<void> {
    await this.#fallDue()
    for (let i = 0; i < tabs; i++) this.#tabs.push(await this.#reach(this.#jar!))
    this.#coming.push(...await this.#leave(this.#tabs.pop()!, 'nothing'))
    for (let i = 0; i < tabs; i++) this.#tabs.push(await this.#reach(this.#jar!))
  }

  async #renew (): Promise<void> {
    await this.#fallDue()
    const before = this.#jar
    await this.#visit()
    hold('I8', this.#jar !== before, 'a renewal that is due does not come')
    await this.#visit()
    this.#stage.renewals++
  }

  /** Whether a request still has its session. */
  #isIn ({ epoch }: OpenRequest): boolean {
    return !this.#ended && epoch === this.#epoch
  }

  /** What an open request sees of the session: all of it, or nothing any more. */
  async #look (one: OpenRequest): Promise<void> {
    const alive = this.#isIn(one)
    const { value, code } = await attempt(async () => await one.session.live.n.get())
    hold(alive ? 'I8' : 'I6', code === undefined && value === (alive ? this.#data.n : undefined), () => `a live read gave ${value ?? code}${alive ? `, not ${this.#data.n}` : ''}`)
  }

  async #act (one: OpenRequest, act: Act): Promise<void> {
    const { session } = one
    const alive = this.#isIn(one)
    const held = ({ code }: { code?: string }): void => {
      hold(alive ? 'I8' : 'I6', code === (alive ? undefined : 'SESSION_GONE'), () => `${act} ${alive ? 'failed' : 'on a session that is over'}: ${code}`)
    }
    switch (act) {
      case 'live read': await this.#look(one); break
      case 'live write': {
        const { value, ...rest } = await attempt(async () => await session.live.n.incr())
        held(rest)
        if (alive) hold('I3', value === ++this.#data.n, () => `incr gave ${value}, not ${this.#data.n}`)
        break
      }
      case 'reload': {
        held(await attempt(async () => await session.reload()))
        if (!alive) break
        const { n, a } = session.data()
        hold('I5', n === this.#data.n && a === this.#data.a, () => `reload() shows ${n} and ${a}, not ${this.#data.n} and ${this.#data.a}`)
        break
      }
      case 'save':
        session.a = this.#data.a + 1
        held(await attempt(async () => await session.save()))
        if (alive) this.#data.a++
        break
    }
  }

  async #rotate (who: number | 'tab'): Promise<void> {
    await this.#settle()
    const one = who === 'tab' ? await this.#reach(this.#jar!) : pick(this.#long, who)
    if (one === undefined) return
    const old = one.epoch
    if (one.streaming || old !== this.#epoch) {
      // No cookie can be sent any more, or there is nothing to rotate: all stays as it is.
      await attempt(async () => { await one.session.rotate(); await one.session.save() })
      await this.#look(one)
      return
    }
    await one.session.rotate()
    if (who !== 'tab') this.#long.splice(this.#long.indexOf(one), 1)
    const { status, cookie } = await one.leave()
    hold('I9', status === 200 && cookie !== undefined && cookie !== '', () => `rotate() was answered ${status}`)
    this.#dead.push(...this.#chain)
    this.#chain = []
    this.#confirmed = 0
    this.#epoch++
    this.#arrive(cookie!)
    for (const other of [...this.#long, ...this.#tabs]) await this.#look(other)
    for (const token of this.#dead.slice(-3)) await this.#refused(token)
    await this.#visit()
  }

  /** A token is good for nothing, and trying it does no harm. */
  async #refused (token: string): Promise<void> {
    const one = await new OpenRequest(this.#stage, token, this.#epoch).loaded()
    const { isNew } = one.session
    const { cookie } = await one.leave()
    hold('I8', isNew === true && cookie === undefined, 'a secret of before is still good')
  }

  async #end (finale: Finale): Promise<void> {
    switch (finale[0]) {
      case 'none': break
      case 'theft': {
        await this.#renew()
        await this.#stage.pass(ROTATE_GRACE * 1000 + 1)
        // After a rotation only the last predecessor is known to have been one.
        const known = this.#chain.slice(this.#epoch === 0 ? 0 : this.#confirmed - 1, this.#confirmed)
        await this.#refused(pick(known, finale[1])!)
        this.#ended = true
        break
      }
      case 'destroy': {
        const one = finale[1] === 'tab' ? await this.#reach(this.#jar!) : pick(this.#long.filter((one) => this.#isIn(one)), finale[1])
        if (one === undefined) return
        hold('I6', (await attempt(async () => await one.session.destroy())).code === undefined, 'destroy() failed')
        this.#ended = true
        if (finale[1] === 'tab') await one.leave()
        else one.epoch = -1
        break
      }
    }
    const record = await this.#stage.store.inspect(idOf(this.#jar!))
    hold('I6', (record === undefined) === this.#ended, () => `the record is ${record === undefined ? 'gone' : 'still there'}`)
    if (this.#ended) await this.#refused(this.#jar!)
    else await this.#visit()
    for (const one of this.#long) if (one.epoch >= 0) await this.#act(one, 'reload')
  }
}

/** One of several, and where wanted, takes it out. */
function pick<T> (list: T[], n: number, out = false): T | undefined {
  if (list.length === 0) return undefined
  const i = n % list.length
  return out ? list.splice(i, 1)[0] : list[i]
}

const some = fc.nat(9)
const act = fc.constantFrom<Act>('reload', 'reload', 'live read', 'live write', 'save')
const step: fc.Arbitrary<Step> = fc.oneof<Array<fc.WeightedArbitrary<Step>>>(
  { weight: 4, arbitrary: fc.constant<Step>(['send']) },
  { weight: 4, arbitrary: some.map((n): Step => ['reach', n]) },
  { weight: 4, arbitrary: fc.tuple(some, fc.oneof(fc.constant('nothing' as const), act)).map(([n, act]): Step => ['leave', n, act]) },
  { weight: 3, arbitrary: some.map((n): Step => ['arrive', n]) },
  { weight: 1, arbitrary: some.map((n): Step => ['lose', n]) },
  { weight: 3, arbitrary: fc.constantFrom(1, 400, 999, 1000, 1001, 2000, 2001, 10_000).map((ms): Step => ['pass', ms]) },
  { weight: 2, arbitrary: fc.constantFrom(1, 1, 2, 5, 20).map((times): Step => ['renew', times]) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 3 }).map((tabs): Step => ['rush', tabs]) },
  { weight: 2, arbitrary: fc.boolean().map((streaming): Step => ['open', streaming]) },
  { weight: 6, arbitrary: fc.tuple(some, act).map(([n, act]): Step => ['act', n, act]) },
  { weight: 1, arbitrary: some.map((n): Step => ['close', n]) },
  { weight: 1, arbitrary: fc.oneof(fc.constant('tab' as const), some).map((who): Step => ['rotate', who]) }
)
const finale: fc.Arbitrary<Finale> = fc.oneof(
  fc.constant<Finale>(['none']),
  some.map((n): Finale => ['theft', n]),
  fc.oneof(fc.constant('tab' as const), some).map((who): Finale => ['destroy', who])
)

/** Whatever requests last over how many renewals, and in whatever order answers come: nobody is logged out, and nobody else is let in. */
export function longHistories (stage: LongStage): fc.IAsyncProperty<[LongHistory]> {
  return fc.asyncProperty(fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), finale }), async (history) => {
    await new Scene(stage).play(history)
  })
}
