/** One small application, the same on every library. */
import type { Gate } from './gate.js'

/** The session of a request, whatever the library calls its methods; it is not looked at before one of them is called. */
export interface Handle {
  get: (field: string) => unknown
  set: (field: string, value: unknown) => void
  /** A new id, where the library can give one. */
  regenerate?: () => Promise<void>
  /** Increments a field where the record is, where the library can. */
  increment?: (field: string) => Promise<void>
  destroy: () => Promise<void>
}

/** A request's answer is what its action gives back. */
export type Action = (session: Handle, gate: Gate, field: string) => Promise<unknown>

/** Every route: `GET /<name>?field=<field>`. All but `page` look at the session. */
export const ACTIONS: Record<string, Action> = {
  page: async () => null,
  read: async (session, _gate, field) => session.get(field) ?? null,
  write: async (session, _gate, field) => { session.set(field, field); return null },
  /** Looks at the session first, and changes it when the gate opens. */
  writeLater: async (session, gate, field) => {
    session.get(field)
    await gate.pass()
    session.set(field, field)
    return null
  },
  countByProperty: async (session, gate, field) => {
    const count = Number(session.get(field) ?? 0)
    await gate.pass()
    session.set(field, count + 1)
    return null
  },
  countInPlace: async (session, gate, field) => {
    await gate.pass()
    await session.increment?.(field)
    return null
  },
  writeAndThrow: async (session, _gate, field) => {
    session.set(field, field)
    throw new Error('thrown on purpose')
  },
  login: async (session, _gate, field) => {
    await session.regenerate?.()
    session.set(field, field)
    return null
  },
  logout: async (session) => { await session.destroy(); return null }
}
