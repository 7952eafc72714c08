import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import { readEnvironment, variableOf, type Environment } from '../src/environment.js'
import { OptionsSchema } from '../src/options.js'

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
      name: 'sid', secure: true, httpOnly: false, domain: 'example.com', path: '/app', sameSite: 'strict', partitioned: false, priority: 'high', persistent: true
    },
    decoratorName: 'visit',
    saveOnError: true,
    onStoreError: 'anonymous',
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

test('the variable of an option is known by the option\'s path', async (t) => {
  t.equal(variableOf(OptionsSchema, 'idleTimeout'), 'SESSION_EXPIRE')
  t.equal(variableOf(OptionsSchema, 'cookie.name'), 'SESSION_COOKIE_ID')
  t.equal(variableOf(OptionsSchema, 'cookie'), undefined)
  t.equal(variableOf(OptionsSchema, 'schema'), undefined)
  t.equal(variableOf(OptionsSchema, 'nonsense'), undefined)
})

test('every option that a string can say has a variable of its own', async (t) => {
  const properties: Array<[string, { env?: string }]> = Object.entries(OptionsSchema.properties).flatMap(([name, property]): Array<[string, { env?: string }]> =>
    'properties' in property ? Object.entries(property.properties).map(([key, inner]) => [`${name}.${key}`, inner as { env?: string }]) : [[name, property as { env?: string }]])
  const noString = ['schema', 'migrateFrom']
  const variables = properties.filter(([name]) => !noString.includes(name)).map(([name, { env }]) => {
    t.match(env, /^SESSION_[A-Z]+(?:_[A-Z]+)*$/, name)
    t.equal(variableOf(OptionsSchema, name), env)
    return env
  })
  t.equal(new Set(variables).size, variables.length)
})

test('an unknown variable is warned about, with the nearest known one', async (t) => {
  for (const [variable, nearest] of [
    ['SESSION_EXPIRES', 'SESSION_EXPIRE'], ['SESSION_EXPIRY', 'SESSION_EXPIRE'], ['SESSION_SECRETS', 'SESSION_SECRET'], ['SESSION_SECERT', 'SESSION_SECRET'], ['SESSION_COOKIE_NAME', 'SESSION_COOKIE_ID'],
    ['SESSION_COOKIE_SAMESITE', 'SESSION_COOKIE_SAME_SITE'], ['SESSION_COOKIE_HTTPONLY', 'SESSION_COOKIE_HTTP_ONLY'], ['SESSION_REDIS_PREFX', 'SESSION_REDIS_PREFIX'], ['SESSION_MAXFIELDS', 'SESSION_MAX_FIELDS'],
    ['SESSION_LIFE_TIME', 'SESSION_LIFETIME']
  ] as const) {
    const warnings = warningsOf(variable)
    t.equal(warnings.length, 1, variable)
    // Where two are as near, either will do.
    if (variable === 'SESSION_COOKIE_NAME') t.match(warnings[0], /did you mean SESSION_COOKIE_\w+\?/)
    else t.equal(warnings[0], `the environment variable ${variable} is unknown; did you mean ${nearest}?`)
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
    a: Type.Object({ b: Type.Object({ c: Type.Number({ env: 'SESSION_C' }) }), d: Type.Boolean({ env: 'SESSION_D' }) }),
    e: Type.String({ env: 'SESSION_E' })
  })
  t.strictSame(readEnvironment(schema, { SESSION_C: '1', SESSION_D: 'on', SESSION_E: 'x' }, []), { a: { b: { c: 1 }, d: true }, e: 'x' })
  t.throws(() => readEnvironment(schema, { SESSION_C: 'x' }, []), { message: /a\.b\.c \(SESSION_C\)/ })
})
