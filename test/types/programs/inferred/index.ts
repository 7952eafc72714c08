/** An application whose schema is also its declaration. */
import { Type, type Static } from '@sinclair/typebox'
import Fastify from 'fastify'
import sessionPlugin from 'fastify-live-session'
import { exactly } from '../exactly.js'

const schema = Type.Object({
  userId: Type.Optional(Type.String({ format: 'uuid' })),
  role: Type.Optional(Type.Union([Type.Literal('admin'), Type.Literal('guest')])),
  cart: Type.Optional(Type.Array(Type.Object({ id: Type.Integer(), note: Type.Optional(Type.String()) })))
})

declare module 'fastify-live-session' {
  interface SessionData extends Static<typeof schema> {}
  // Beside it, what the schema does not check.
  interface SessionData { theme?: string }
}

const app = Fastify()
app.register(sessionPlugin, { schema })
// @ts-expect-error: an object schema
app.register(sessionPlugin, { schema: Type.String() })

app.get('/', async ({ session }) => {
  exactly<string | undefined>()(session.userId)
  exactly<'admin' | 'guest' | undefined>()(session.role)
  session.cart = [{ id: 1 }, { id: 2, note: 'x' }]
  session.theme = 'dark'
  // @ts-expect-error: no such role
  session.role = 'root'
  // @ts-expect-error: a number
  session.cart[0] = { id: '1' }
  const role = await session.live.role.get()
  exactly<'admin' | 'guest' | undefined>()(role)
  return await session.live.cart.update((items = []) => items.filter(({ id }) => id !== 1))
})
