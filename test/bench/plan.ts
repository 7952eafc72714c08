/** Who is measured, on which routes, and what the project promised about the outcome. */

/** One contender: how it is called on the command line and in the table. */
export interface Entry {
  name: string
  label: string
  /** Whether it keeps sessions; bare Fastify has only the routes for visitors. */
  sessions: boolean
  /** The packages whose versions the report states. */
  packages: readonly string[]
}

/** The one that all this is about. */
export const OURS = 'live'

/** All contenders, in the table's order. */
export const CONTENDERS: readonly Entry[] = [
  { name: 'bare', label: 'bare Fastify', sessions: false, packages: ['fastify'] },
  { name: 'raw', label: 'raw ioredis', sessions: true, packages: ['ioredis'] },
  { name: OURS, label: '**fastify-live-session**', sessions: true, packages: [] },
  { name: 'fastify-session', label: '@fastify/session', sessions: true, packages: ['@fastify/session'] },
  {
    name: 'mgcrea',
    label: '@mgcrea/fastify-session',
    sessions: true,
    packages: ['@mgcrea/fastify-session', '@mgcrea/fastify-session-redis-store']
  },
  {
    name: 'express-session',
    label: 'express-session',
    sessions: true,
    packages: ['express-session', 'connect-redis', 'redis', 'express']
  }
]

/** Cookies as other software leaves them in a browser; none is a session of any contender. */
const FOREIGN = [
  '_ga=GA1.1.1804289383.1719400000; theme=dark; consent=necessary.statistics',
  'theme=light; _hjSessionUser_3051=eyJpZCI6IjA3ZDMifQ; locale=de-DE; consent=necessary'
]

/** One measured route. */
export interface Route {
  name: string
  /** What is requested. */
  path: string
  /** Cookies sent along: none, foreign ones, or those of sessions with small or large data. */
  cookies: 'none' | 'foreign' | 'small' | 'large'
  /** What it shows, for the legend under the table. */
  about: string
  /** Redis commands that one request of ours may take, exactly. */
  commands: number
  /** The least rate, compared with another contender's, that the project set itself. */
  goals: ReadonlyArray<{ than: string, ratio: number }>
}

/** All routes, in the table's order. */
export const ROUTES: readonly Route[] = [
  {
    name: 'anonymous',
    path: '/anonymous',
    cookies: 'none',
    about: 'no cookie comes in, the handler does not look at the session',
    commands: 0,
    goals: [{ than: 'bare', ratio: 0.95 }]
  },
  {
    name: 'foreign',
    path: '/anonymous',
    cookies: 'foreign',
    about: "the same, and the browser sends three or four of other software's cookies",
    commands: 0,
    goals: [{ than: 'bare', ratio: 0.95 }]
  },
  {
    name: 'visitor',
    path: '/visitor',
    cookies: 'none',
    about: 'no cookie comes in, the handler looks whether somebody is logged in (bare and raw answer a constant)',
    commands: 0,
    goals: []
  },
  {
    name: 'read',
    path: '/read',
    cookies: 'small',
    about: 'a session with 7 fields, one of them is answered (raw: `GET`, `JSON.parse`)',
    commands: 1,
    goals: [{ than: 'raw', ratio: 1.1 }, { than: 'fastify-session', ratio: 3 }]
  },
  {
    name: 'read-large',
    path: '/read-large',
    cookies: 'large',
    about: 'a session with 20 fields of 200 bytes, one of them is answered',
    commands: 1,
    goals: [{ than: 'raw', ratio: 1 }, { than: 'fastify-session', ratio: 3 }]
  },
  {
    name: 'write',
    path: '/write',
    cookies: 'small',
    about: 'a counter in the session with 7 fields goes up by one (raw: `GET`, `SET … EX`)',
    commands: 2,
    goals: [{ than: 'raw', ratio: 1.2 }, { than: 'fastify-session', ratio: 2 }]
  },
  {
    name: 'create',
    path: '/create',
    cookies: 'none',
    about: 'no cookie comes in, 7 fields are stored: a new session every time (raw: `SET … EX`, and no cookie is sent)',
    commands: 1,
    goals: [{ than: 'raw', ratio: 1 }]
  }
]

/** The most bytes that Redis may need for a 7-field session of ours. */
export const MOST_BYTES = 384

/** What a route's requests send as their Cookie header: one value per distinct client, none for no header at all. */
export function foreignCookies (route: Route): readonly string[] {
  return route.cookies === 'foreign' ? FOREIGN : []
}

/** Whether a contender has that route. */
export function plays (entry: Entry, route: Route): boolean {
  return entry.sessions || route.path === '/anonymous' || route.path === '/visitor'
}
