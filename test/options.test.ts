import { Type } from '@sinclair/typebox'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { resolveOptions, type ResolvedOptions, type SessionOptions } from '../src/options.js'
import { MemoryStore } from '../src/store/memory.js'

const SECRET = 'the secret of these tests: 0123456789abcdef'
const OTHER = 'another secret of these tests: 0123456789abc'

function resolve (options: unknown = {}, environment: Record<string, string> = {}): ResolvedOptions {
  return resolveOptions({ secret: SECRET, ...options as SessionOptions }, environment)
}

/** Checks that options are refused, by an error that names the option and its variable. */
function refused (t: Test, options: unknown, what: string, message?: RegExp, environment?: Record<string, string>): void {
  let error: Error & { code?: string, statusCode?: number } | undefined
  try {
    resolve(options, environment)
  } catch (caught) {
    error = caught as Error
  }
  const given = JSON.stringify(options)
  t.match(error, { code: 'SESSION_OPTION_INVALID', statusCode: 500 }, given)
  t.ok(error?.message.startsWith(`fastify-live-session: ${what}: `), `${given}: ${error?.message}`)
  if (message !== undefined) t.match(error?.message, message, given)
  for (const secret of [SECRET, OTHER]) t.notMatch(String(error?.stack), secret)
}

test('the defaults are those of the README', async (t) => {
  t.strictSame(resolve(), {
    startup: 'require',
    prefix: 'session:',
    migrateFrom: [],
    idleTimeout: 1800,
    lifetime: 43200,
    rotateEvery: 0,
    rotateGrace: 10,
    decoratorName: 'session',
    saveOnError: false,
    onStoreError: 'fail',
    timeout: 250,
    maxFields: 100,
    maxFieldSize: 16384,
    maxRecordSize: 65536,
    maxDepth: 16,
    maxSessionsPerUser: 0,
    onLimit: 'end-oldest',
    devices: false,
    schema: undefined,
    secrets: [SECRET],
    cookie: { name: '__Host-session-id', secure: true, httpOnly: true, path: '/', sameSite: 'lax', partitioned: false, persistent: false },
    rules: { idleTimeout: 1_800_000, touchInterval: 30_000, lifetime: 43_200_000, rotateEvery: 0, rotateGrace: 10_000, maxFields: 100, maxRecordSize: 65536, users: false },
    warnings: []
  })
})

test('what is given is taken, in milliseconds where the rules are meant', async (t) => {
  const options = resolve({
    prefix: 'app:', idleTimeout: 60, lifetime: 600, touchInterval: 2.5, rotateEvery: 90, rotateGrace: 0, decoratorName: '$visit_1', saveOnError: true, timeout: 10, maxFields: 1, maxFieldSize: 64, maxRecordSize: 64, maxDepth: 100
  })
  t.match(options, { prefix: 'app:', decoratorName: '$visit_1', saveOnError: true, timeout: 10, maxFieldSize: 64, maxDepth: 100 })
  t.strictSame(options.rules, { idleTimeout: 60_000, touchInterval: 2500, lifetime: 600_000, rotateEvery: 90_000, rotateGrace: 0, maxFields: 1, maxRecordSize: 64, users: false })
})

test('the touch interval is a small part of the idle timeout unless given', async (t) => {
  for (const [idleTimeout, touchInterval] of [[60, 1000], [1800, 30_000], [3600, 60_000], [7200, 60_000], [1, 1000 / 60]] as const) {
    t.equal(resolve({ idleTimeout, lifetime: 10_000 }).rules.touchInterval, touchInterval, `${idleTimeout} s`)
  }
  t.equal(resolve({ touchInterval: 0 }).rules.touchInterval, 0)
  t.equal(resolve({}, { SESSION_TOUCH_INTERVAL: '0' }).rules.touchInterval, 0)
})

test('what is passed outranks the environment, which outranks the defaults', async (t) => {
  const environment = { SESSION_EXPIRE: '70', SESSION_LIFETIME: '700', SESSION_COOKIE_PATH: '/env', SESSION_COOKIE_SECURE: 'false', SESSION_SECRET: OTHER }
  const options = resolveOptions({ idleTimeout: 80, cookie: { path: '/code' } }, environment)
  t.match(options, { idleTimeout: 80, lifetime: 700, rotateGrace: 10, secrets: [OTHER] })
  t.match(options.cookie, { path: '/code', secure: false, httpOnly: true })
  t.strictSame(resolve({}, environment).secrets, [SECRET])
  t.equal(resolve({ cookie: { secure: true, path: '/' } }, environment).cookie.name, '__Host-session-id')
})

test('undefined counts as not given', async (t) => {
  const options = resolve({ idleTimeout: undefined, touchInterval: undefined, redis: undefined, cookie: { path: undefined, domain: undefined, name: undefined } }, { SESSION_EXPIRE: '70' })
  t.equal(options.idleTimeout, 70)
  t.equal(options.cookie.name, '__Host-session-id')
  t.equal(resolve({ cookie: undefined }).cookie.path, '/')
})

test('what is given is not changed, and nothing is shared between two instances', async (t) => {
  const given = Object.freeze({ secret: SECRET, cookie: Object.freeze({ path: '/app' }), idleTimeout: 60 })
  const one = resolveOptions(given, {})
  const other = resolveOptions(given, {})
  t.strictSame(given, { secret: SECRET, cookie: { path: '/app' }, idleTimeout: 60 })
  t.not(one.rules, other.rules)
  t.not(one.cookie, other.cookie)
})

test('Fastify\'s own options of register are no options of ours', async (t) => {
  const options = resolve({ logLevel: 'warn', logSerializers: {} }) as unknown as Record<string, unknown>
  t.notOk('logLevel' in options)
  t.notOk('logSerializers' in options)
})

test('an unknown option is refused, and what was meant is named', async (t) => {
  const times = /: unknown; here that is idleTimeout \(how long .*\) or lifetime \(.*\), both in seconds; cookie\.persistent/
  for (const [option, message] of [
    ['idletimeout', /: unknown; did you mean idleTimeout\?$/], ['idleTimout', /mean idleTimeout\?/], ['IDLE_TIMEOUT', /mean idleTimeout\?/],
    ['sameSite', /mean cookie\.sameSite\?/], ['httpOnly', /mean cookie\.httpOnly\?/], ['name', /mean cookie\.name\?/], ['cookieName', /mean cookie\.name\?/],
    ['maxAge', times], ['ttl', times], ['expires', times],
    ['cookieOptions', /here that is cookie, an object/], ['encrypt', /leave it out: the data stay in Redis/],
    ['saveUninitialized', /leave it out: a session without data is never stored/], ['resave', /leave it out: only what changed/], ['genid', /leave it out: ids/],
    ['rolling', /here that is touchInterval/], ['disableTouch', /touch: false/], ['store', /here that is redis$/], ['client', /here that is redis$/], ['url', /here that is redis$/],
    ['key', /here that is secret for what signs the cookie, cookie\.name for its name/], ['salt', /here that is secret/], ['password', /here that is secret$/],
    ['keyPrefix', /here that is prefix$/], ['sessionName', /here that is cookie\.name$/], ['trustProxy', /an option of Fastify/],
    // Not so far from idleTimeout that it would be nonsense, but nobody means that.
    ['idle', /here that is idleTimeout/], ['zzz', /: zzz: unknown$/], ['constructor', /: unknown$/], ['toString', /: unknown$/]
  ] as Array<[string, RegExp]>) refused(t, { [option]: 1 }, option, message)
  for (const [option, message] of [
    ['samesite', /mean cookie\.sameSite\?/], ['maxAge', times], ['expires', times], ['idleTimeout', /mean idleTimeout\?/], ['secret', /mean secret\?/],
    ['signed', /leave it out: the cookie is always signed/], ['zzz', /: unknown$/]
  ] as Array<[string, RegExp]>) refused(t, { cookie: { [option]: 1 } }, `cookie.${option}`, message)
})

test('what is no object is no group of options', async (t) => {
  for (const [cookie, kind] of [
    [() => ({ secure: false }), 'a function'], [true, 'a boolean'], [[], 'an array'], [null, 'null'], ['sid', 'a string'], [new Map([['secure', false]]), 'an object of class Map'],
    [Object.create({ secure: false }), 'an object that inherits from another']
  ] as Array<[unknown, string]>) {
    t.throws(() => resolve({ cookie }), { code: 'SESSION_OPTION_INVALID', message: `fastify-live-session: cookie: expected an object, not ${kind}` })
    t.throws(() => resolve({ cookie }, { SESSION_COOKIE_PATH: '/x' }), { message: /expected an object/ })
  }
  t.equal(resolve({ cookie: Object.assign(Object.create(null), { path: '/x' }) }).cookie.path, '/x')
})

test('a wrong type or value is refused, and the option named with its variable', async (t) => {
  for (const [option, variable, values] of [
    ['prefix', 'SESSION_REDIS_PREFIX or SESSION_PREFIX', [5, null, 'x'.repeat(129), {}]],
    ['idleTimeout', 'SESSION_EXPIRE or SESSION_IDLE_TIMEOUT', [0, 0.5, -1, '60', null, Number.NaN, Number.POSITIVE_INFINITY, 60n, [60]]],
    ['lifetime', 'SESSION_LIFETIME', [0, -1, '60', Number.NaN, Number.POSITIVE_INFINITY]],
    ['touchInterval', 'SESSION_TOUCH_INTERVAL', [-1, '5', Number.NaN]],
    ['rotateEvery', 'SESSION_ROTATE_EVERY', [-1, '5', Number.NaN]],
    ['rotateGrace', 'SESSION_ROTATE_GRACE', [-1, '5']],
    ['decoratorName', 'SESSION_DECORATOR_NAME', ['', '1a', 'a-b', 'a b', 'größe', 5]],
    ['saveOnError', 'SESSION_SAVE_ON_ERROR', ['true', 1, null]],
    ['onStoreError', 'SESSION_ON_STORE_ERROR', ['ignore', '', true, null]],
    ['timeout', 'SESSION_TIMEOUT', [9, 100.5, '100', -1, 600_001, 2 ** 31, 3e9]],
    ['maxFields', 'SESSION_MAX_FIELDS', [0, 1001, 1.5, '10']],
    ['maxFieldSize', 'SESSION_MAX_FIELD_SIZE', [63, 100.5]],
    ['maxRecordSize', 'SESSION_MAX_RECORD_SIZE', [63, 100.5]],
    ['maxDepth', 'SESSION_MAX_DEPTH', [0, 101, 1.5]]
  ] as Array<[string, string, unknown[]]>) {
    for (const value of values) {
      let error: Error & { code?: string } | undefined
      try {
        resolve({ [option]: value })
      } catch (caught) {
        error = caught as Error
      }
      t.equal(error?.code, 'SESSION_OPTION_INVALID', `${option} = ${String(value)}`)
      t.ok(error?.message.startsWith(`fastify-live-session: ${option} (${variable}): expected `), String(error?.message))
      t.notMatch(error?.message, /union|required property|undefined/i)
    }
  }
  for (const cookie of [{ secure: 'true' }, { secure: 1 }, { secure: null }]) refused(t, { cookie }, 'cookie.secure (SESSION_COOKIE_SECURE)')
  for (const cookie of [{ httpOnly: 'no' }]) refused(t, { cookie }, 'cookie.httpOnly (SESSION_COOKIE_HTTP_ONLY)')
  for (const cookie of [{ sameSite: true }, { sameSite: false }, { sameSite: 'other' }, { sameSite: ['lax'] }]) refused(t, { cookie }, 'cookie.sameSite (SESSION_COOKIE_SAME_SITE)', /expected one of lax, strict, none/)
  for (const cookie of [{ priority: 'urgent' }, { priority: 1 }]) refused(t, { cookie }, 'cookie.priority (SESSION_COOKIE_PRIORITY)', /expected one of low, medium, high/)
})

test('what is expected is told, and what came where that is news', async (t) => {
  refused(t, { timeout: 5 }, 'timeout (SESSION_TIMEOUT)', /: expected a whole number from 10 to 600000$/)
  refused(t, { maxFields: 2000 }, 'maxFields (SESSION_MAX_FIELDS)', /: expected a whole number from 1 to 1000$/)
  refused(t, {}, 'maxFields (SESSION_MAX_FIELDS)', /from 1 to 1000/, { SESSION_MAX_FIELDS: '2000' })
  refused(t, { maxFieldSize: 5 }, 'maxFieldSize (SESSION_MAX_FIELD_SIZE)', /: expected a whole number, at least 64$/)
  refused(t, { idleTimeout: '60' }, 'idleTimeout (SESSION_EXPIRE or SESSION_IDLE_TIMEOUT)', /: expected a number from 1 to 315360000, not a string$/)
  refused(t, { lifetime: Number.NaN }, 'lifetime (SESSION_LIFETIME)', /, not NaN$/)
  refused(t, { devices: 1 }, 'devices (SESSION_DEVICES)', /: expected true or false, not a number$/)
  refused(t, { decoratorName: 'a-b' }, 'decoratorName (SESSION_DECORATOR_NAME)', /: expected letters, digits, _ and \$, not beginning with a digit$/)
})

test('words are taken in any case, in code as in variables', async (t) => {
  t.match(resolve({ startup: 'LAZY', onLimit: 'End-Oldest', onStoreError: 'Anonymous', cookie: { sameSite: 'Lax', priority: 'HIGH' } }),
    { startup: 'lazy', onLimit: 'end-oldest', onStoreError: 'anonymous', cookie: { sameSite: 'lax', priority: 'high' } })
  t.match(resolve({}, { SESSION_STARTUP: 'Lazy', SESSION_COOKIE_SAME_SITE: 'STRICT' }), { startup: 'lazy', cookie: { sameSite: 'strict' } })
})

test('a secret is required, and how to make one is said', async (t) => {
  t.throws(() => resolveOptions({}, {}), { code: 'SESSION_OPTION_INVALID', message: /^fastify-live-session: secret \(SESSION_SECRET\): required.*randomBytes/ })
  t.throws(() => resolveOptions({}, { SESSION_SECRET: '' }), { message: /required/ })
})

test('each secret has 32 bytes at least', async (t) => {
  const short = 'abcdefghij0123456789abcdefghij0'
  t.equal(short.length, 31)
  for (const secret of [short, [SECRET, short], [short, SECRET]]) refused(t, { secret }, 'secret (SESSION_SECRET)', /at least 32 bytes/)
  t.strictSame(resolve({ secret: `${short}x` }).secrets, [`${short}x`])
  t.ok(resolve({ secret: 'äöüßéèàçñøåþðíúóâ' }), 'bytes count, not characters')
  t.throws(() => resolveOptions({}, { SESSION_SECRET: `${SECRET},${short}` }), { code: 'SESSION_OPTION_INVALID', message: /secret \(SESSION_SECRET\): number 2 of 2, as the commas in the variable divide it: it needs at least 32 bytes/ })
})

test('several secrets are kept in their order', async (t) => {
  t.strictSame(resolve({ secret: [OTHER, SECRET] }).secrets, [OTHER, SECRET])
  t.strictSame(resolveOptions({}, { SESSION_SECRET: `${OTHER}, ${SECRET}` }).secrets, [OTHER, SECRET])
})

test('empty, missing and other secrets are refused without repeating them', async (t) => {
  for (const [secret, message] of [
    ['', /: it is empty; make one with/], [[], /: required; make one/], [[''], /: it is empty/], [[SECRET, ''], /: number 2 of 2: it is empty/],
    [[SECRET, 5], /: number 2 of 2: expected a string, or an array of strings, not a number/], [5, /, not a number/], [null, /, not null/], [{}, /, not an object/], [true, /, not a boolean/],
    [() => SECRET, /, not a function/], [Buffer.from(SECRET), /not a Buffer: give secret\.toString/], [[Buffer.from(SECRET)], /not a Buffer/], [new Uint8Array(32), /not a Buffer/],
    [{ sign () {}, unsign () {} }, /not a signer: give what it signs with/]
  ] as Array<[unknown, RegExp]>) refused(t, { secret }, 'secret (SESSION_SECRET)', message)
  t.strictSame(resolve({ secret: Object.freeze([SECRET, OTHER]) }).secrets, [SECRET, OTHER])
})

test('a secret with a comma in it is told from two secrets', async (t) => {
  const parts = [
    ['a secret of somebody, with a comma in it', /number 1 of 2, as the commas in the variable divide it: it needs at least 32 bytes/],
    [`${SECRET},`, /number 2 of 2, as the commas in the variable divide it: it is empty/],
    [`,${SECRET}`, /number 1 of 2, .*: it is empty/]
  ] as const
  for (const [text, message] of parts) t.throws(() => resolveOptions({}, { SESSION_SECRET: text }), { code: 'SESSION_OPTION_INVALID', message })
  // Given in code, a comma is a character as any other.
  const { secrets, warnings } = resolve({ secret: parts[0][0] }, { SESSION_SECRET: parts[0][0] })
  t.strictSame(secrets, [parts[0][0]])
  // But whoever hands the variable on may have meant what it means by itself: then everybody would be logged out.
  t.match(warnings, [/^the option secret is SESSION_SECRET as it stands, so one secret, .*: where the commas divide several, leave the option out$/])
  t.strictSame(resolve({ secret: parts[0][0] }, {}).warnings, [])
  t.strictSame(resolve({ secret: SECRET }, { SESSION_SECRET: SECRET }).warnings, [])
})

test('secrets that documentation shows, and secrets of hardly any characters, are refused', async (t) => {
  for (const secret of ['replace-this-sample-by-a-secret-of-your-own', 'another-sample-to-be-replaced-by-your-own-secret', [SECRET, 'replace-this-sample-by-a-secret-of-your-own']]) {
    refused(t, { secret }, 'secret (SESSION_SECRET)', /sample/)
  }
  for (const secret of ['a'.repeat(64), 'ab'.repeat(32), 'abc'.repeat(20), ' '.repeat(40)]) refused(t, { secret }, 'secret (SESSION_SECRET)', /too few different characters/)
  t.ok(resolve({ secret: '0123456789abcdef'.repeat(4) }))
})

test('timeouts that contradict each other are refused', async (t) => {
  refused(t, { idleTimeout: 100, lifetime: 99 }, 'lifetime (SESSION_LIFETIME)', /idleTimeout \(100 s\)/)
  refused(t, { idleTimeout: 50_000 }, 'lifetime (SESSION_LIFETIME)', /idleTimeout \(50000 s\)/)
  refused(t, {}, 'lifetime (SESSION_LIFETIME)', undefined, { SESSION_EXPIRE: '50000' })
  t.ok(resolve({ idleTimeout: 100, lifetime: 100 }))
  refused(t, { idleTimeout: 100, touchInterval: 101 }, 'touchInterval (SESSION_TOUCH_INTERVAL)', /idleTimeout \(100 s\)/)
  t.ok(resolve({ idleTimeout: 100, touchInterval: 100 }))
  refused(t, { rotateEvery: 10 }, 'rotateEvery (SESSION_ROTATE_EVERY)', /rotateGrace \(10 s\)/)
  refused(t, { rotateEvery: 60, rotateGrace: 60 }, 'rotateEvery (SESSION_ROTATE_EVERY)', /rotateGrace \(60 s\)/)
  t.ok(resolve({ rotateEvery: 0, rotateGrace: 60 }))
  t.ok(resolve({ rotateEvery: 11 }))
})

test('no timeout is accepted that Redis cannot keep', async (t) => {
  for (const seconds of [1e13, 1e17, Number.MAX_VALUE]) {
    refused(t, { lifetime: seconds }, 'lifetime (SESSION_LIFETIME)')
    t.throws(() => resolve({ idleTimeout: seconds, lifetime: seconds }), { code: 'SESSION_OPTION_INVALID' })
  }
  t.ok(resolve({ idleTimeout: 365 * 24 * 3600, lifetime: 10 * 365 * 24 * 3600 }))
})

test('the cookie has the __Host- name exactly where browsers accept it', async (t) => {
  const nameOf = (cookie: SessionOptions['cookie']) => resolve({ cookie }).cookie.name
  t.equal(nameOf({}), '__Host-session-id')
  t.equal(nameOf({ httpOnly: false, sameSite: 'strict', persistent: true, priority: 'low' }), '__Host-session-id')
  t.equal(nameOf({ sameSite: 'none', partitioned: true }), '__Host-session-id')
  t.equal(nameOf({ secure: false }), 'session-id')
  t.equal(nameOf({ domain: 'example.com' }), 'session-id')
  t.equal(nameOf({ path: '/app' }), 'session-id')
  t.equal(nameOf({ name: 'sid' }), 'sid')
})

test('a prefix of the name that browsers would refuse is an error, however it is spelled', async (t) => {
  for (const name of ['__Host-sid', '__host-sid', '__HOST-sid', '__Host-Http-sid']) {
    for (const cookie of [{ domain: 'example.com' }, { path: '/app' }, { secure: false }]) {
      refused(t, { cookie: { name, ...cookie } }, 'cookie.name (SESSION_COOKIE_ID or SESSION_COOKIE_NAME)', /__Host-/)
    }
    t.equal(resolve({ cookie: { name } }).cookie.name, name)
  }
  for (const name of ['__Secure-sid', '__secure-sid', '__Http-sid', '__http-sid']) {
    refused(t, { cookie: { name, secure: false } }, 'cookie.name (SESSION_COOKIE_ID or SESSION_COOKIE_NAME)', /cookie\.secure/)
    t.ok(resolve({ cookie: { name, domain: 'example.com', path: '/app' } }))
  }
  for (const name of ['__Http-sid', '__Host-Http-sid', '__HOST-HTTP-sid']) {
    refused(t, { cookie: { name, httpOnly: false } }, 'cookie.name (SESSION_COOKIE_ID or SESSION_COOKIE_NAME)', /cookie\.httpOnly/)
  }
  t.ok(resolve({ cookie: { name: '__Secure-sid', httpOnly: false } }))
})

test('a name that looks like a misspelt prefix is warned about', async (t) => {
  for (const name of ['__Host_sid', '_Host-sid', 'Host-sid', '__Host__sid', '___Host-sid', '__Secure_sid', 'secure-sid', '_Secure-sid', '__Http_sid']) {
    const { warnings } = resolve({ cookie: { name } })
    t.equal(warnings.length, 1, name)
    t.match(warnings[0], /cookie\.name.*misspelt/)
  }
  for (const name of ['__Host-sid', '__Secure-sid', '__Http-sid', 'sid', 'session-id', 'hostess', 'ghost-sid', 'my__Host-sid']) t.strictSame(resolve({ cookie: { name } }).warnings, [], name)
})

test('attributes that browsers would refuse together are errors', async (t) => {
  refused(t, { cookie: { secure: false, sameSite: 'none' } }, 'cookie.sameSite (SESSION_COOKIE_SAME_SITE)', /cookie\.secure/)
  refused(t, { cookie: { secure: false, partitioned: true } }, 'cookie.partitioned (SESSION_COOKIE_PARTITIONED)', /cookie\.secure/)
  for (const sameSite of ['lax', 'strict'] as const) refused(t, { cookie: { partitioned: true, sameSite } }, 'cookie.partitioned (SESSION_COOKIE_PARTITIONED)', /sameSite none/)
  refused(t, {}, 'cookie.sameSite (SESSION_COOKIE_SAME_SITE)', undefined, { SESSION_COOKIE_SECURE: 'false', SESSION_COOKIE_SAME_SITE: 'none' })
  t.ok(resolve({ cookie: { sameSite: 'none' } }))
})

test('a name that is no token is refused', async (t) => {
  for (const name of ['', ' ', 'a b', 'a;b', 'a=b', 'a,b', 'a"b', 'a\\b', 'a/b', 'a[b]', 'a{b}', 'a(b)', 'a@b', 'a:b', 'a<b>', 'a?b', 'größe', 'a\r\nb', 'a\0', 'sid\n', '\tsid', 'x'.repeat(129)]) {
    refused(t, { cookie: { name } }, 'cookie.name (SESSION_COOKIE_ID or SESSION_COOKIE_NAME)')
  }
  for (const name of ['a', 'sid', "!#$%&'*+-.^_`|~09AZaz", 'x'.repeat(128)]) t.equal(resolve({ cookie: { name } }).cookie.name, name)
})

test('a path is absolute, printable and without semicolon', async (t) => {
  for (const path of ['', 'app', '../', '/a;b', '/a\r\nSet-Cookie: x=1', '/a\0', '/größe', '/a\u007f', ' /', '/\t', `/${'x'.repeat(1024)}`]) {
    refused(t, { cookie: { path } }, 'cookie.path (SESSION_COOKIE_PATH)')
  }
  for (const path of ['/', '/app', '/app/', '/a b', '/%C3%A4', "/~a!$&'()*+,=:@"]) t.equal(resolve({ cookie: { path } }).cookie.path, path)
})

test('a domain is a domain name', async (t) => {
  for (const domain of ['', ' ', '.', '..', 'a..b', '-a.com', 'a-.com', 'a b.com', 'a.com;', 'a.com\r\nX: y', 'https://a.com', 'a.com:80', 'a.com/', 'größe.de', 'a_b.com', `${'x'.repeat(64)}.com`, `${'x.'.repeat(128)}com`, '[::1]']) {
    refused(t, { cookie: { domain } }, 'cookie.domain (SESSION_COOKIE_DOMAIN)')
  }
  for (const domain of ['example.com', '.example.com', 'a.b.c.example.co.uk', 'xn--gre-6ka8i.de', 'LOCALHOST', '1.example.com']) t.equal(resolve({ cookie: { domain } }).cookie.domain, domain)
})

test('what is dangerous in production is warned about there, and only there', async (t) => {
  const warningsIn = (environment: string, options: SessionOptions) => resolve(options, { NODE_ENV: environment }).warnings
  for (const environment of ['development', 'test', '']) t.strictSame(warningsIn(environment, { redis: 'memory:', cookie: { secure: false } }), [], environment)
  t.strictSame(warningsIn('production', {}), [])
  t.match(warningsIn('production', { redis: 'memory:' }), [/memory.*production/])
  t.match(warningsIn('production', { cookie: { secure: false } }), [/cookie\.secure is false in production/])
  t.equal(warningsIn('production', { redis: 'memory:', cookie: { secure: false } }).length, 2)
  t.match(resolve({}, { NODE_ENV: 'production', SESSION_REDIS: 'memory:' }).warnings, [/memory/])
})

test('unknown variables are among the warnings', async (t) => {
  t.match(resolve({}, { SESSION_EXPIRS: '5' }).warnings, [/SESSION_EXPIRS.*SESSION_EXPIRE\?/])
})

test('redis may be a URL, options, a client or a store, and is handed on as it is', async (t) => {
  const client = new Redis({ lazyConnect: true })
  t.teardown(() => { client.disconnect() })
  for (const redis of ['redis://localhost:1', 'memory:', { host: 'localhost', port: 1 }, client, new MemoryStore()]) {
    t.equal(resolve({ redis }).redis, redis)
  }
  t.equal(resolve({}, { SESSION_REDIS: 'rediss://host' }).redis, 'rediss://host')
  t.equal(resolve().redis, undefined)
})

test('a schema is one of TypeBox, of an object', async (t) => {
  const { schema } = resolve({ schema: Type.Object({ userId: Type.String() }) })
  t.strictSame([schema?.fits('userId', 'u'), schema?.fits('userId', 5), schema?.fits('other', 5)], [true, false, true])
  for (const [schema, message] of [
    [5, /: expected a TypeBox schema, Type\.Object\(\{ … \}\), not a number/], [null, /, not null/], ['x', /, not a string/], [[], /expected a TypeBox schema/], [{}, /expected a TypeBox schema/], [() => 1, /, not a function/],
    [{ type: 'string' }, /not one of type string/], [Type.Array(Type.String()), /not one of type array/], [Type.Record(Type.String(), Type.String()), /expected a TypeBox schema/],
    [Type.Intersect([Type.Object({}), Type.Object({})]), /not an intersection: Type\.Composite/],
    [{ type: 'object', properties: { a: { type: 'string' } } }, /the field a has no schema of @sinclair\/typebox/], [{ type: 'object', properties: { a: null } }, /the field a has no schema/],
    [Type.Object({ a: Type.Ref('elsewhere') }), /the field a cannot be checked \(Unable to dereference/], [Type.Object({ ok: Type.String(), b: Type.Array(Type.Ref('elsewhere')) }), /the field b cannot be checked/],
    [Type.Object({ a: Type.Unsafe({ type: 'string' }) }), /the field a cannot be checked/]
  ] as Array<[unknown, RegExp]>) refused(t, { schema }, 'schema', message)
  t.ok(resolve({ schema: Type.Object({}) }))
  t.ok(resolve({ schema: Type.Composite([Type.Object({ a: Type.String() }), Type.Object({ b: Type.Date() })]) }))
})

test('userField names a field that there can be', async (t) => {
  const what = 'userField (SESSION_USER_FIELD)'
  const closed = Type.Object({ userId: Type.Optional(Type.String()) }, { additionalProperties: false })
  refused(t, { userField: 'userID', schema: closed }, what, /the option schema has no such field/)
  for (const schema of [closed, Type.Object({}), undefined]) t.equal(resolve({ userField: 'userId', schema }).userField, 'userId')
  refused(t, { userField: 'user.id' }, what, /a name with a dot .*\(data\) => data\.user\?\.id/)
  refused(t, {}, what, /a name with a dot/, { SESSION_USER_FIELD: 'user.id' })
  for (const [userField, kind] of [[5, 'a number'], [null, 'null'], [['userId'], 'an array']]) refused(t, { userField }, what, new RegExp(`a function of the data, not ${kind as string}`))
})
