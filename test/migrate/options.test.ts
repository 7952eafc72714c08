import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { test } from 'tap'
import { inheritance, OldCookieReader } from '../../src/migrate/cookie.js'
import { MigrationSchema, resolveMigrations, type MigrateFrom } from '../../src/migrate/options.js'
import { resolveOptions, type SessionOptions } from '../../src/options.js'
import { leaves } from '../../src/settings.js'
import { makeApp, SECRET } from '../support/app.js'
import { commentsOf } from '../support/schema-comments.js'
import { readGuide } from '../types/examples.js'

const GOOD: MigrateFrom = { format: 'express-session', secret: 'hunter2', until: '2999-01-31' }

test('defaults', async (t) => {
  t.match(resolveMigrations(GOOD, 'session-id', []), [{
    format: 'express-session', secrets: ['hunter2'], until: Date.UTC(2999, 0, 31), prefix: 'sess:', keep: false, cookie: { name: 'connect.sid', path: '/' }
  }])
  t.match(resolveMigrations([{ ...GOOD, format: '@fastify/session' }, { ...GOOD, format: '@mgcrea/fastify-session', cookie: { path: '/x' } }], 'session-id', []),
    [{ cookie: { name: 'sessionId', path: '/' } }, { cookie: { name: 'Session', path: '/x' } }])
  t.strictSame(resolveMigrations(undefined, 'session-id', []), [])
  t.strictSame(resolveMigrations([], 'session-id', []), [])
  t.equal(resolveMigrations({ ...GOOD, until: new Date(9e14) }, 'id', [])[0]!.until, 9e14)
  t.equal(resolveMigrations({ ...GOOD, until: '2999-01-31T12:00:00+01:00' }, 'id', [])[0]!.until, Date.UTC(2999, 0, 31, 11))
  t.match(resolveMigrations({ ...GOOD, prefix: undefined, keep: undefined, transform: undefined, cookie: { name: undefined } }, 'id', []), [{ prefix: 'sess:', keep: false, cookie: { name: 'connect.sid', path: '/' } }])
  const given = { ...GOOD, cookie: { path: '/y' } }
  resolveMigrations(given, 'id', [])
  t.strictSame(given, { ...GOOD, cookie: { path: '/y' } }, 'what was given stays as it was')
})

test('a date that has passed turns it off, with a warning', async (t) => {
  const warnings: string[] = []
  t.strictSame(resolveMigrations({ ...GOOD, until: '2020-01-01' }, 'id', warnings), [])
  t.match(warnings, [/^migrateFrom: its time ended on 2020-01-01T00:00:00.000Z; remove it$/])
})

test('what is wrong is named, and no secret is', async (t) => {
  const wrong: Array<[unknown, RegExp]> = [
    ['sess', /: migrateFrom: expected an object/],
    [{ ...GOOD, format: 'koa' }, /migrateFrom\.format: expected one of express-session, @fastify\/session, @mgcrea\/fastify-session/],
    [{ ...GOOD, secret: undefined }, /migrateFrom\.secret: /],
    [{ ...GOOD, secret: '' }, /migrateFrom\.secret: /],
    [{ ...GOOD, secret: [] }, /migrateFrom\.secret: at least one/],
    [{ ...GOOD, secret: ['hunter2', 5] }, /migrateFrom\.secret: expected text or a Buffer/],
    [{ ...GOOD, until: undefined }, /migrateFrom\.until: /],
    ...['tomorrow', '2999-13-01', '2999-01-31T12:00', 5, new Date(NaN)].map((until): [unknown, RegExp] => [{ ...GOOD, until }, /migrateFrom\.until: expected a Date/]),
    [{ ...GOOD, prefix: 5 }, /migrateFrom\.prefix: expected a string of at most 128 characters, not a number/],
    [{ ...GOOD, keep: 'yes' }, /migrateFrom\.keep: expected true or false, not a string/],
    [{ ...GOOD, transform: {} }, /migrateFrom\.transform: expected a function/],
    [{ ...GOOD, cookie: 'sid' }, /migrateFrom\.cookie: expected an object, not a string/],
    [{ ...GOOD, cookie: { name: 'a b' } }, /migrateFrom\.cookie\.name: /],
    [{ ...GOOD, cookie: { name: 'id' } }, /migrateFrom\.cookie\.name: this is the name of the new cookie/],
    [{ ...GOOD, cookie: { path: 'x' } }, /migrateFrom\.cookie\.path: /],
    [{ ...GOOD, cookie: { path: '/\r\nset-cookie: x' } }, /migrateFrom\.cookie\.path: /],
    [{ ...GOOD, cookie: { domain: 'a;b' } }, /migrateFrom\.cookie\.domain: /],
    [{ ...GOOD, cookie: { secure: true } }, /migrateFrom\.cookie\.secure: unknown$/],
    [{ ...GOOD, ttl: 5 }, /migrateFrom\.ttl: unknown$/],
    [{ ...GOOD, keyPrefix: 'x' }, /migrateFrom\.keyPrefix: unknown; here that is prefix/],
    [{ ...GOOD, format: undefined }, /migrateFrom\.format: required/],
    [new Map(), /: migrateFrom: expected an object, not an object of class Map/],
    [[GOOD, { ...GOOD, format: 'x' }], /migrateFrom\[1\]\.format: /],
    [[GOOD, GOOD], /migrateFrom: two of them have the same cookie\.name/]
  ]
  for (const [migrateFrom, message] of wrong) {
    const options = { secret: SECRET, cookie: { name: 'id' }, migrateFrom } as SessionOptions
    t.throws(() => resolveOptions(options, {}), { code: 'SESSION_OPTION_INVALID', message }, String(message))
    try { resolveOptions(options, {}) } catch (error) { t.notMatch((error as Error).message, 'hunter2') }
  }
  await t.rejects(makeApp(t, { redis: 'memory:', migrateFrom: GOOD }), { code: 'SESSION_OPTION_INVALID', message: /migrateFrom: needs the sessions to be in the Redis/ })
})

function sign (id: string, secret: string): string {
  return createHmac('sha256', secret).update(id).digest('base64').replace(/=+$/, '')
}

test('any id is read back from a genuine cookie, and no other', async (t) => {
  const ids = fc.string({ minLength: 1, maxLength: 256, unit: 'grapheme-ascii' })
  const secrets = fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 3 })
  for (const format of ['express-session', '@fastify/session', '@mgcrea/fastify-session'] as const) {
    fc.assert(fc.property(ids, secrets, fc.nat(), fc.string(), (id, secrets, n, noise) => {
      const reader = new OldCookieReader({ format, secrets, cookie: { name: 'old', path: '/' } })
      const signature = sign(id, secrets[n % secrets.length]!)
      const text = format === '@mgcrea/fastify-session' ? Buffer.from(id).toString('base64') : format === 'express-session' ? `s:${id}` : id
      const strip = format === '@fastify/session' && id.startsWith('s:')
      t.same(reader.read(`a=b; old=${encodeURIComponent(`${text}.${signature}`)}; c=d`), strip ? undefined : { id, signature })
      for (const value of [noise, `${text}.${noise}`, `${noise}.${signature}`, `${text}${noise}`]) {
        const read = reader.read(`old=${encodeURIComponent(value)}`)
        if (read !== undefined) t.ok(secrets.some((secret) => sign(read.id, secret) === read.signature))
      }
    }), { numRuns: 100 })
  }
})

test('what an old cookie is worth follows from its signature, its id and the prefix', async (t) => {
  const cookie = { id: 'a', signature: 'b' }
  const { id, secret } = inheritance(cookie, 'sess:')
  t.match(id, /^[A-Za-z0-9_-]{21}[AQgw]$/)
  t.match(secret, /^[A-Za-z0-9_-]{32}$/)
  t.strictSame(inheritance(cookie, 'sess:'), { id, secret })
  for (const other of [inheritance({ id: 'b', signature: 'b' }, 'sess:'), inheritance({ id: 'a', signature: 'c' }, 'sess:'), inheritance(cookie, 'x:')]) {
    t.not(other.secret, secret)
    t.not(other.id, id)
  }
})

test('the table of the guide is that of the schema', async (t) => {
  const [, table = ''] = readGuide().split(/<!-- migrateFrom:(?:begin|end) -->\n/)
  const rows = table.trim().split('\n').slice(2).map((row) => row.split('|').slice(1, -1).map((cell) => cell.trim()))
  const comments = commentsOf('migrate/options.ts', 'MigrationSchema')
  t.strictSame(rows, comments.map(({ path, text, standard }) => [`\`${path}\``, standard, text]))
  for (const [i, [path, { default: standard }]] of [...leaves(MigrationSchema)].entries()) {
    t.equal(comments[i]?.path, path.join('.'))
    if (standard !== undefined) t.equal(comments[i]?.standard, `\`${String(standard)}\``, path.join('.'))
  }
})
