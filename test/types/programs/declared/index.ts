/** An application that declares its data. */
import Fastify, { type FastifyContextConfig } from 'fastify'
import sessionPlugin, {
  errors, MemoryStore, RedisStore, sessionPlugin as named,
  type LiveAttribute, type RouteSession, type Session, type SessionOptions, type Sessions, type Store
} from 'fastify-live-session'
import { Redis } from 'ioredis'
import { exactly } from '../exactly.js'

interface Item { id: number, quantity: number }

declare module 'fastify-live-session' {
  interface SessionData {
    userId?: string
    count?: number
    cart?: Item[]
    theme?: 'dark' | 'light'
    /** A name that a method has, too: to be reached by `get` and `set`. */
    touch?: boolean
  }
}

declare module 'fastify' {
  interface FastifyRequest { staff: Session }
  interface FastifyInstance { staffs: Sessions }
  interface FastifyContextConfig { staff?: RouteSession }
}

const app = Fastify()
await app.register(sessionPlugin)
await app.register(named, { decoratorName: 'staff', prefix: 'staff:', cookie: { name: '__Host-staff-id', sameSite: 'strict' } })
// @ts-expect-error: no such option
await app.register(sessionPlugin, { secrets: ['x'] })
// @ts-expect-error: one of lax, strict, none
await app.register(sessionPlugin, { cookie: { sameSite: 'Lax' } })
// @ts-expect-error: seconds, a number
await app.register(sessionPlugin, { idleTimeout: '30m' })

const redis = new Redis({ lazyConnect: true })
const stores: Store[] = [new MemoryStore(), new RedisStore(redis, { prefix: 'x:', timeout: 100 })]
const options: SessionOptions[] = [
  {}, { secret: 'one' }, { secret: ['one', 'two'] },
  { redis: 'redis://localhost' }, { redis: { host: 'localhost' } }, { redis }, ...stores.map((redis) => ({ redis }))
]
for (const each of options) await app.register(sessionPlugin, each)

app.get('/', { config: { session: { touch: false }, staff: false } }, async (request) => {
  const { session } = request
  exactly<Session>()(session)

  exactly<string | undefined>()(session.userId)
  exactly<Item[] | undefined>()(session.cart)
  session.userId = 'u_1'
  session.count = (session.count ?? 0) + 1
  session.cart?.push({ id: 7, quantity: 1 })
  delete session.theme
  const { userId, ...rest } = session
  exactly<string>()(userId)
  // @ts-expect-error: a number
  session.count = '1'
  // @ts-expect-error: one of two words
  session.theme = 'blue'
  // @ts-expect-error: a part is missing
  session.cart = [{ id: 7 }]
  // @ts-expect-error: not declared
  session.usrId = 'u_1'
  // @ts-expect-error: not declared
  if (session.usrId === undefined) return
  // @ts-expect-error: a method stays one
  session.destroy = 1
  // @ts-expect-error: cannot be assigned
  session.id = 'x'
  // @ts-expect-error: of the session itself, whatever the data are
  exactly<boolean | undefined>()(session.touch)

  exactly<Item[] | undefined>()(session.get('cart'))
  const byKey = session.get('count')
  exactly<number | undefined>()(byKey)
  const clash = session.get('touch')
  exactly<boolean | undefined>()(clash)
  const free = session.get('anything')
  exactly<unknown>()(free)
  session.set('count', 1)
  session.set('count', undefined)
  session.set('touch', true)
  session.set('anything', { goes: true })
  const data = session.data()
  exactly<'dark' | 'light' | undefined>()(data.theme)

  const { live } = session
  const clicks = live.count
  exactly<LiveAttribute<number>>()(clicks)
  exactly<Buffer | null>()(await clicks.raw)
  exactly<string>()(await clicks.str)
  exactly<number>()(await clicks.int)
  exactly<boolean>()(await clicks.bool)
  exactly<boolean>()(await clicks.none)
  exactly<unknown>()(await clicks.json)
  const [fresh, taken, total, done] = await Promise.all([live.cart.get(), live.theme.take(), clicks.incr(), live.touch.setIfAbsent(true)])
  exactly<Item[] | undefined>()(fresh)
  exactly<'dark' | 'light' | undefined>()(taken)
  exactly<number>()(total)
  exactly<boolean>()(done)
  await live.cart.update((items = []) => [...items, { id: 7, quantity: 1 }])
  await live.cart.set(undefined)
  // @ts-expect-error: a number
  await live.count.set('1')
  // @ts-expect-error: of the same type
  await live.cart.update(() => 'x')
  // @ts-expect-error: not declared
  await live.usrId.get()
  // @ts-expect-error: a promise, not a number
  if (live.count.int > 1) return

  await session.regenerate(['theme', 'anything'])
  await session.regenerate()
  await session.rotate()
  await session.reload()
  await session.save()
  await session.destroy()
  await session.save((error) => { exactly<Error | null | undefined>()(error) })
  session.touch()
  session.clear()
  session.remember({ idleTimeout: 10, lifetime: 20 })
  // @ts-expect-error: no such limit
  session.remember({ maxAge: 10 })
  session.idleTimeout = 60
  exactly<Date | undefined>()(session.createdAt)
  exactly<boolean>()(session.isNew)
  request.staff.count = 2
  return rest
})
// What a route says of the session.
const answer = async (): Promise<string> => ''
app.get('/off', { config: { session: false } }, answer)
app.get('/peek', { config: { session: { touch: false, onStoreError: 'anonymous' }, staff: { maxAuthAge: 60, elevated: true }, other: { elevate: true } } }, answer)
app.get('/perhaps', { config: { session: { elevated: undefined, maxAuthAge: undefined, touch: undefined, onStoreError: undefined }, staff: undefined } }, answer)
app.route({ method: ['GET', 'POST'], url: '/both', config: { session: { elevated: true } }, handler: answer })
// @ts-expect-error: no such setting
app.get('/', { config: { session: { elevate: true } } }, answer)
// @ts-expect-error: no such setting
app.get('/', { config: { session: { elevatedd: true } } }, answer)
// @ts-expect-error: no such setting
app.get('/', { config: { session: { Elevated: true, touch: false } } }, answer)
// @ts-expect-error: no such setting
app.get('/', { config: { session: { maxAge: 300 } } }, answer)
// @ts-expect-error: no such setting
app.get('/', { config: { staff: { elevate: true } } }, answer)
// @ts-expect-error: no such setting
app.route({ method: 'GET', url: '/', config: { session: { elevate: true } }, handler: answer })
// @ts-expect-error: true or false
app.get('/', { config: { session: { elevated: 1 } } }, answer)
// @ts-expect-error: seconds, a number
app.get('/', { config: { session: { maxAuthAge: '1h' } } }, answer)
// @ts-expect-error: true says nothing
app.get('/', { config: { session: true } }, answer)
// @ts-expect-error: null says nothing
app.get('/', { config: { session: null } }, answer)
// @ts-expect-error: an object, or false
app.get('/', { config: { session: [] } }, answer)
// @ts-expect-error: one of two words
app.post('/', { config: { session: { onStoreError: 'ignore' } } }, answer)
const config: FastifyContextConfig = { session: { touch: false, onStoreError: 'anonymous' } }
const shared: RouteSession = { elevated: true }
app.get('/shared', { config: { session: shared } }, answer)
app.get('/config', { config }, answer)
// @ts-expect-error: no such setting
export const wrong: FastifyContextConfig = { session: { save: false } }

app.get('/errors', async ({ session }) => {
  try {
    await session.save()
  } catch (error) {
    if (error instanceof errors.GoneError) exactly<409>()(error.statusCode)
    else if (error instanceof errors.StoreUnavailableError) return error.code
    throw error
  }
})

const headers = await app.sessions.issue({ userId: 'u_1', passport: 'andrew' })
exactly<{ cookie: string }>()(headers)
await app.inject({ url: '/', headers: await app.staffs.issue({ count: 1 }) })
// @ts-expect-error: a string
await app.sessions.issue({ userId: 1 })
