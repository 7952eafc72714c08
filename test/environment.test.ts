import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import { readEnvironment, textOf, variablesOf, type Environment } from '../src/environment.js'
import { OptionsSchema } from '../src/options.js'
import { leaves } from '../src/settings.js'

function read (environment: Environment): Record<string, unknown> {
  return readEnvironment(OptionsSchema, environment, [])
}

function warningsOf (...variables: string[]): string[] {
  const warnings: string[] = []
  readEnvironment(OptionsSchema, Object.fromEntries(variables.map((name) => [name, 'x'])), warnings)
  return warnings
}

test('an empty environment sets nothing', async (t) => {
  t.strictSame(read({}), {})
  t.strictSame(read({ PATH: '/bin', HOME: '/root', NODE_ENV: 'production', SESSIONS: 'x', session_expire: '5', MY_SESSION_EXPIRE: '5' }), {})
})

test('empty variables count as absent', async (t) => {
  t.strictSame(read({ SESSION_SECRET: '', SESSION_EXPIRE: '', SESSION_COOKIE_SECURE: '', SESSION_COOKIE_ID: '', SESSION_REDIS: '' }), {})
  t.strictSame(read({ SESSION_EXPIRE: undefined }), {})
})

test('every variable sets its option, converted to its type', async (t) => {
  t.strictSame(read({
    SESSION_SECRET: 'one',
    SESSION_REDIS: 'redis://host:1/2',
    SESSION_REDIS_PREFIX: 'app:',
    SESSION_EXPIRE: '60',
    SESSION_LIFETIME: '3600.5',
    SESSION_TOUCH_INTERVAL: '0',
    SESSION_ROTATE_EVERY: '900',
    SESSION_ROTATE_GRACE: '5',
    SESSION_COOKIE_ID: 'sid',
    SESSION_COOKIE_SECURE: 'true',
    SESSION_COOKIE_HTTP_ONLY: 'false',
    SESSION_COOKIE_DOMAIN: 'example.com',
    SESSION_COOKIE_PATH: '/app',
    SESSION_COOKIE_SAME_SITE: 'Strict',
    SESSION_COOKIE_PARTITIONED: 'no',
    SESSION_COOKIE_PRIORITY: 'HIGH',
    SESSION_COOKIE_PERSISTENT: '1',
    SESSION_DECORATOR_NAME: 'visit',
    SESSION_SAVE_ON_ERROR: 'yes',
    SESSION_ON_STORE_ERROR: 'Anonymous',
    SESSION_TIMEOUT: '100',
    SESSION_MAX_FIELDS: '10',
    SESSION_MAX_FIELD_SIZE: '100',
    SESSION_MAX_RECORD_SIZE: '1000',
    SESSION_MAX_DEPTH: '3'
  }), {
    secret: ['one'],
    redis: 'redis://host:1/2',
    prefix: 'app:',
    idleTimeout: 60,
    lifetime: 3600.5,
    touchInterval: 0,
    rotateEvery: 900,
    rotateGrace: 5,
    cookie: {
      name: 'sid', secure: true, httpOnly: false, domain: 'example.com', path: '/app', sameSite: 'Strict', partitioned: false, priority: 'HIGH', persistent: true
    },
    decoratorName: 'visit',
    saveOnError: true,
    onStoreError: 'Anonymous',
    timeout: 100,
    maxFields: 10,
    maxFieldSize: 100,
    maxRecordSize: 1000,
    maxDepth: 3
  })
})

test('several secrets are separated by commas', async (t) => {
  t.strictSame(read({ SESSION_SECRET: 'one,two , three' }), { secret: ['one', 'two', 'three'] })
})

test('yes and no are understood in the usual spellings, and no others', async (t) => {
  for (const text of ['true', 'TRUE', 'True', '1', 'yes', 'on', 'On']) t.strictSame(read({ SESSION_COOKIE_SECURE: text }), { cookie: { secure: true } }, text)
  for (const text of ['false', 'FALSE', '0', 'no', 'No', 'off']) t.strictSame(read({ SESSION_COOKIE_SECURE: text }), { cookie: { secure: false } }, text)
  for (const text of ['2', 'y', 'n', 't', 'enabled', ' true', 'true ', 'truefalse', '-1', 'null']) {
    t.throws(() => read({ SESSION_COOKIE_SECURE: text }), { code: 'SESSION_OPTION_INVALID', message: 'fastify-live-session: cookie.secure (SESSION_COOKIE_SECURE): expected true or false' }, text)
  }
})

test('numbers have digits, and a decimal point at most', async (t) => {
  for (const [text, number] of [['0', 0], ['5', 5], ['007', 7], ['1800', 1800], ['0.5', 0.5], ['12.250', 12.25]] as const) t.strictSame(read({ SESSION_EXPIRE: text }), { idleTimeout: number }, text)
  for (const text of ['-1', '+1', '1e3', '30m', '30 ', ' 30', '1,800', '0x10', '.5', '5.', 'Infinity', 'NaN', 'true', '1_000', '٣']) {
    for (const [variable, option] of [['SESSION_EXPIRE', 'idleTimeout'], ['SESSION_MAX_FIELDS', 'maxFields']] as const) {
      t.throws(() => read({ [variable]: text }), { code: 'SESSION_OPTION_INVALID', message: `fastify-live-session: ${option} (${variable}): expected a number without sign or unit` }, text)
    }
  }
})

test('no error repeats what a variable holds', async (t) => {
  for (const variable of ['SESSION_EXPIRE', 'SESSION_COOKIE_SECURE', 'SESSION_MAX_DEPTH']) {
    try {
      read({ [variable]: 'A-SECRET-IN-THE-WRONG-PLACE' })
      t.fail('was expected to throw')
    } catch (error) {
      t.notMatch(String((error as Error).stack), 'A-SECRET-IN-THE-WRONG-PLACE')
    }
  }
})

test('the variables of an option are known by the option\'s path', async (t) => {
  t.strictSame(variablesOf(OptionsSchema, 'idleTimeout'), ['SESSION_EXPIRE', 'SESSION_IDLE_TIMEOUT'])
  t.strictSame(variablesOf(OptionsSchema, 'cookie.name'), ['SESSION_COOKIE_ID', 'SESSION_COOKIE_NAME'])
  for (const none of ['cookie', 'schema', 'nonsense']) t.strictSame(variablesOf(OptionsSchema, none), [], none)
})

test('every option that a string can say has a variable that follows its name, and no variable is that of two', async (t) => {
  const all: string[] = []
  for (const [path] of leaves(OptionsSchema)) {
    const option = path.join('.')
    const variables = variablesOf(OptionsSchema, option)
    if (['schema', 'migrateFrom'].includes(option)) t.strictSame(variables, [], option)
    else t.ok(variables.includes(`SESSION_${option.replace('.', '_').replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`), option)
    all.push(...variables)
  }
  t.equal(new Set(all).size, all.length)
})

test('of two variables either will do, and both where they agree', async (t) => {
  for (const [option, one, other, value] of [
    ['idleTimeout', 'SESSION_EXPIRE', 'SESSION_IDLE_TIMEOUT', '60'],
    ['cookie.name', 'SESSION_COOKIE_ID', 'SESSION_COOKIE_NAME', 'sid'],
    ['prefix', 'SESSION_REDIS_PREFIX', 'SESSION_PREFIX', 'app:'],
    ['maxSessionsPerUser', 'SESSION_MAX_PER_USER', 'SESSION_MAX_SESSIONS_PER_USER', '3']
  ] as const) {
    const expected = read({ [one]: value })
    t.not(Object.keys(expected).length, 0)
    t.strictSame(read({ [other]: value }), expected, other)
    t.strictSame(read({ [one]: value, [other]: value }), expected, 'both')
    t.strictSame(read({ [one]: '', [other]: value }), expected, 'an empty one is none')
    t.throws(() => read({ [one]: value, [other]: `${value}0` }),
      { code: 'SESSION_OPTION_INVALID', message: `fastify-live-session: ${option}: the variables ${one} and ${other} both stand for it, and say different things: set one of them` })
    t.equal(textOf(OptionsSchema, option, { [other]: value }), value)
    t.equal(textOf(OptionsSchema, option, { [one]: '' }), undefined)
    const warnings: string[] = []
    readEnvironment(OptionsSchema, { [other]: value }, warnings)
    t.strictSame(warnings, [])
  }
  t.throws(() => read({ SESSION_IDLE_TIMEOUT: '30m' }), { message: 'fastify-live-session: idleTimeout (SESSION_IDLE_TIMEOUT): expected a number without sign or unit' })
})

test('an unknown variable is warned about, with what it may have meant', async (t) => {
  for (const [variable, meant] of [
    ['SESSION_EXPIRS', 'SESSION_EXPIRE'], ['SESSION_SECRT', 'SESSION_SECRET'], ['SESSION_SECERT', 'SESSION_SECRET'],
    ['SESSION_COOKIE_SAMESITE', 'SESSION_COOKIE_SAME_SITE'], ['SESSION_SAMESITE', 'SESSION_COOKIE_SAME_SITE'], ['SESSION_COOKIE_HTTPONLY', 'SESSION_COOKIE_HTTP_ONLY'],
    ['SESSION_REDIS_PREFX', 'SESSION_REDIS_PREFIX'], ['SESSION_MAXFIELDS', 'SESSION_MAX_FIELDS'], ['SESSION_LIFE_TIME', 'SESSION_LIFETIME'], ['SESSION_IDLETIMEOUT', 'SESSION_EXPIRE']
  ] as const) t.strictSame(warningsOf(variable), [`the environment variable ${variable} is unknown; did you mean ${meant}?`])
  for (const [variable, hint] of [
    ['SESSION_TTL', /; here that is SESSION_EXPIRE \(.*\) or SESSION_LIFETIME \(.*\), both in seconds/], ['SESSION_MAX_AGE', /here that is SESSION_EXPIRE/], ['SESSION_COOKIE_MAX_AGE', /here that is SESSION_EXPIRE/],
    ['SESSION_STORE', /here that is SESSION_REDIS$/], ['SESSION_REDIS_URL', /here that is SESSION_REDIS$/], ['SESSION_DRIVER', /here that is SESSION_REDIS$/],
    ['SESSION_KEY_PREFIX', /here that is SESSION_REDIS_PREFIX$/], ['SESSION_COOKIE', /here that is SESSION_COOKIE_ID$/], ['SESSION_PASSWORD', /here that is SESSION_SECRET$/], ['SESSION_SALT', /here that is SESSION_SECRET,/],
    ['SESSION_ROLLING', /here that is SESSION_TOUCH_INTERVAL:/], ['SESSION_SAVE_UNINITIALIZED', /; leave it out: a session without data/], ['SESSION_SECURE_COOKIE', /here that is SESSION_COOKIE_SECURE$/],
    ['SESSION_A', /is unknown$/], ['SESSION_CONSTRUCTOR', /is unknown$/], ['SESSION_FEATURE_FLAGS', /is unknown$/]
  ] as const) {
    t.equal(warningsOf(variable).length, 1, variable)
    t.match(warningsOf(variable), [hint])
  }
})

test('warnings name no values, and known or foreign variables cause none', async (t) => {
  const warnings: string[] = []
  readEnvironment(OptionsSchema, { SESSION_SECRETT: 'the value', SESSION_MANAGER: 'local/host:@/tmp/.ICE-unix/1', SESSION_EXPIRE: '5', OTHER: 'x', SESSIONX: 'y' }, warnings)
  t.equal(warnings.length, 1)
  t.notMatch(warnings[0], 'the value')
  t.equal(warningsOf('SESSION_A', 'SESSION_B').length, 2)
})

test('any schema can be read, groups within groups included', async (t) => {
  const schema = Type.Object({
    a: Type.Object({ b: Type.Object({ c: Type.Number({ env: ['SESSION_C'] }) }), d: Type.Boolean({ env: ['SESSION_D'] }) }),
    e: Type.String({ env: ['SESSION_E'] })
  })
  t.strictSame(readEnvironment(schema, { SESSION_C: '1', SESSION_D: 'on', SESSION_E: 'x' }, []), { a: { b: { c: 1 }, d: true }, e: 'x' })
  t.throws(() => readEnvironment(schema, { SESSION_C: 'x' }, []), { message: /a\.b\.c \(SESSION_C\)/ })
})
