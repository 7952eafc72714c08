/**
 * The URLs that the option `redis` takes. They are read here and not by ioredis, which takes any word after the host for a
 * database and any parameter for an option, and by no part of this is a URL shown: it may hold a password.
 */
import type { RedisOptions } from 'ioredis'
import { OptionError } from '../errors.js'
import { ENCODING } from './redis-trouble.js'

/** What a URL says. */
export interface RedisAddress {
  kind: 'single' | 'sentinel' | 'cluster'
  /** Servers, Sentinels or nodes; none where it is a Unix socket. */
  nodes: Array<{ host: string, port: number }>
  /** User, password, database, TLS, and what else is the same for all nodes. */
  options: Pick<RedisOptions, 'username' | 'password' | 'db' | 'family' | 'tls' | 'path' | 'name'>
}

const SCHEMES: Readonly<Record<string, { kind: RedisAddress['kind'], tls?: boolean, socket?: boolean }>> = {
  redis: { kind: 'single' },
  rediss: { kind: 'single', tls: true },
  'redis+sentinel': { kind: 'sentinel' },
  'rediss+sentinel': { kind: 'sentinel', tls: true },
  'redis+cluster': { kind: 'cluster' },
  'rediss+cluster': { kind: 'cluster', tls: true },
  'redis+unix': { kind: 'single', socket: true },
  unix: { kind: 'single', socket: true }
}

/** The parts of RFC 3986: scheme, authority, path, query, and whether there is a fragment. */
const FORM = /^([a-z+]+):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#)?/i

const FORMS = 'redis://host, redis+sentinel://h1,h2/name or redis+cluster://h1,h2, each also as rediss (TLS), unix:///path of a socket, or memory:'

const NOT_UNDERSTOOD = `this URL cannot be understood. ${ENCODING}`

/**
 * Reads a URL.
 *
 * @throws OptionError (`SESSION_OPTION_INVALID`) where it makes no sense
 */
export function readAddress (url: string): RedisAddress {
  const [, scheme = '', authority = '', path = '', query = '', fragment] = FORM.exec(url.trim()) ?? []
  const known = SCHEMES[scheme.toLowerCase()]
  if (known === undefined) throw refusal(`expected ${FORMS}`)
  const { kind, tls = false, socket = false } = known
  if (fragment !== undefined || (!socket && path.includes('@'))) throw refusal(NOT_UNDERSTOOD)
  const { db, ...parameters } = readQuery(query)
  const at = authority.lastIndexOf('@')
  const credentials = readCredentials(authority.slice(0, Math.max(at, 0)))
  for (const name of ['username', 'password'] as const) {
    if ((parameters[name] ?? credentials[name]) !== (credentials[name] ?? parameters[name])) throw refusal(twice(name))
  }
  const options = { ...parameters, ...credentials, ...(tls && { tls: {} }) }
  const hosts = authority.slice(at + 1)
  const rest = path.slice(1)
  if (socket) {
    if (hosts !== '' || rest === '') throw refusal('a Unix socket has no host, so three slashes: unix:///run/redis.sock')
    return { kind, nodes: [], options: { ...options, path: decode(path), db: db ?? 0 } }
  }
  switch (kind) {
    case 'cluster':
      if (rest !== '' || (db ?? 0) !== 0) throw refusal('a Cluster has no databases: leave out what stands behind the hosts')
      return { kind, nodes: readNodes(hosts, 6379), options }
    case 'sentinel':
      if (rest === '' || rest.includes('/')) throw refusal('redis+sentinel:// needs the name of the master behind the hosts: redis+sentinel://h1,h2/name, with a database redis+sentinel://h1,h2/name?db=2')
      return { kind, nodes: readNodes(hosts, 26379), options: { ...options, name: decode(rest), db: db ?? 0 } }
    case 'single': {
      if (!/^\d*$/.test(rest)) throw refusal('behind the host stands the number of a database, as in redis://host/2; a Unix socket is unix:///run/redis.sock')
      const database = rest === '' ? db : readDatabase(rest)
      if (db !== undefined && database !== db) throw refusal('names two databases: leave out /… or ?db=…')
      const nodes = readNodes(hosts, 6379)
      if (nodes.length > 1) throw refusal('redis:// is for one server: several are redis+sentinel://h1,h2/name or redis+cluster://h1,h2')
      return { kind, nodes, options: { ...options, db: database ?? 0 } }
    }
  }
}

function refusal (problem: string): Error {
  return new OptionError('redis (SESSION_REDIS)', problem)
}

function twice (name: string): string {
  return `says ${name} twice, and different things: leave one out`
}

/** User and password. Whatever is wrong with them, they are not shown. */
function readCredentials (credentials: string): Pick<RedisOptions, 'username' | 'password'> {
  const [, username = '', password] = /^([^:]*)(?::(.*))?$/s.exec(credentials) ?? []
  return {
    ...(username !== '' && { username: decode(username) }),
    ...(password !== undefined && { password: decode(password) })
  }
}

function decode (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw refusal('a % in user, password, name or path has to be written as %25')
  }
}

const PARAMETERS: ReadonlySet<string> = new Set(['db', 'username', 'password', 'family'])

function readQuery (query: string): Pick<RedisOptions, 'username' | 'password' | 'db' | 'family'> {
  const parameters = new URLSearchParams(query)
  const value = (name: string): string | undefined => {
    const [first, ...others] = parameters.getAll(name)
    if (others.some((other) => other !== first)) throw refusal(twice(name))
    return first
  }
  const [db, username, password, family] = ['db', 'username', 'password', 'family'].map(value)
  if ([...parameters.keys()].some((name) => !PARAMETERS.has(name)) || (family !== undefined && !/^[046]$/.test(family))) {
    // A name may be part of a password.
    if (query.includes('@')) throw refusal(NOT_UNDERSTOOD)
    throw refusal('behind the ? of a URL may stand db, username, password and family (4 or 6): pass anything else as ioredis options')
  }
  return {
    ...(db !== undefined && { db: readDatabase(db) }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(family !== undefined && { family: Number(family) })
  }
}

function readDatabase (text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw refusal('a database is a number from 0, as in redis://host/2 or ?db=2')
  return Number(text)
}

function readNodes (hosts: string, defaultPort: number): Array<{ host: string, port: number }> {
  return hosts.split(',').map((host) => {
    if (!URL.canParse(`redis://${host}`)) throw refusal(`one of the hosts or ports cannot be understood. ${ENCODING}`)
    const { hostname, port } = new URL(`redis://${host}`)
    return { host: hostname.replace(/^\[|\]$/g, '') || 'localhost', port: port === '' ? defaultPort : Number(port) }
  })
}
