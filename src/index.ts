export { default, default as sessionPlugin } from './plugin.js'
export type { SessionOptions, RedisOption } from './options.js'
export type { MigrateFrom } from './migrate/options.js'
export type {
  LiveAttribute, LiveAttributes, RememberOptions, Session, SessionData, SessionMethods
} from './session/types.js'
export type { RouteSession } from './session/route.js'
export type { SessionDetails, SessionInfo, SessionOrId, Sessions } from './sessions.js'
export type { SessionEvent, SessionEvents, StoreOperation } from './diagnostics.js'
export { MemoryStore } from './store/memory.js'
export { RedisStore } from './store/redis.js'
export type * from './store/store.js'
export * as errors from './errors.js'
