import { test } from 'tap'
import { resolveOptions, type SessionOptions } from '../../src/options.js'
import { UserField, userKey } from '../../src/users/user-field.js'
import { makeApp } from '../support/app.js'

const of = (data: Record<string, string>) => (name: string) => data[name] ?? null

test('a user as the store takes it', async (t) => {
  t.equal(userKey('andrew'), 'andrew')
  t.equal(userKey('andrew@example.com'), 'andrew@example.com')
  t.equal(userKey(5), '5')
  t.equal(userKey('5'), '"5"')
  t.equal(userKey(-1.5), '-1.5')
  const unusual = ['{slot}', 'a b', 'a\nb', 'žluťoučký', 'x'.repeat(65), '#aaaa', 'a:b', '*', '\0', '[1]', '{"a":1}']
  for (const user of unusual) t.match(userKey(user), /^#[A-Za-z0-9_-]{43}$/, user)
  t.equal(new Set(unusual.map((user) => userKey(user))).size, unusual.length)
  for (const wrong of ['', Number.NaN, Number.POSITIVE_INFINITY, true, null, undefined, {}, [], ['andrew'], 5n] as never[]) {
    t.throws(() => userKey(wrong), { code: 'SESSION_VALUE_INVALID' })
  }
})

test('a name and a function say the same, and what was looked at', async (t) => {
  const name = new UserField('user')
  t.strictSame(name.derive(of({ user: 'andrew' })), { user: 'andrew', when: [['user', 'andrew']] })
  t.strictSame(name.derive(of({})), { user: null, when: [['user', null]] })
  t.strictSame(['user', 'other'].map((field) => name.decides(field)), [true, false])
  for (const nobody of ['null', '""']) t.equal(name.derive(of({ user: nobody })).user, null)
  for (const wrong of ['true', '{}', '["andrew"]']) t.throws(() => name.derive(of({ user: wrong })), { code: 'SESSION_VALUE_INVALID' })

  const passport = new UserField((data: any) => data.passport?.user ?? data.guest)
  t.strictSame(passport.derive(of({ passport: '{"user":7}' })), { user: '7', when: [['passport', '{"user":7}']] })
  t.strictSame(passport.derive(of({ guest: 'g' })), { user: 'g', when: [['passport', null], ['guest', 'g']] })
  t.strictSame(['passport', 'guest', 'user'].map((field) => passport.decides(field)), [true, true, false])
  t.throws(() => name.derive(of({ user: 'false' })), { message: /field "user" cannot be stored: a user is a string/ }, 'the error names the field, not the option')
  t.throws(() => passport.derive(of({ guest: '{}' })), { message: /field "passport, guest" / }, 'or those that have a say')
  t.throws(() => new UserField((data: any) => data.a === undefined ? undefined : {} as never).derive(of({ a: 'TOPSECRET' })), { message: /^(?!.*TOPSECRET).*field "a" /s })
  const destructured = new UserField(({ a }: any) => a)
  t.equal(destructured.decides('a'), true)
})

test('a user that cannot be one is refused under the name of its field', async (t) => {
  const refused = (what: string) => ({ code: 'SESSION_VALUE_INVALID', message: `Session field "${what}" cannot be stored: a user is a string that is not empty, or a finite number.` })
  for (const wrong of ['true', 'false', '{"id":1}', '["andrew"]']) {
    t.throws(() => new UserField('userId').derive(of({ userId: wrong })), refused('userId'))
    t.throws(() => new UserField((data: any) => data.passport ?? data.guest).derive(of({ passport: wrong })), refused('passport'))
    t.throws(() => new UserField((data: any) => data.passport ?? data.guest).derive(of({ guest: wrong })), refused('passport, guest'))
  }
  t.throws(() => userKey(''), refused('user'), 'asked for by nobody\'s field')

  const app = await makeApp(t, { redis: 'memory:', userField: 'userId' }, (app) => {
    app.get('/', async ({ session }: any) => { session.userId = { id: 1 }; return '' })
  })
  t.match((await app.inject('/')).json(), { statusCode: 500, ...refused('userId') })
})

test('what cannot be, is an error at boot', async (t) => {
  t.throws(() => new UserField((data: any) => data.passport.user), { code: 'SESSION_OPTION_INVALID' }, 'fails without data')
  t.throws(() => new UserField((data) => Object.keys(data)[0]), { code: 'SESSION_OPTION_INVALID' }, 'depends on everything')
  const resolve = (options: SessionOptions) => () => resolveOptions({ secret: 'a secret of the tests 8f1c0d7e5b2a', ...options }, {})
  for (const userField of ['@user', 'created_at', '', 5, {}] as never[]) t.throws(resolve({ userField }), { code: 'SESSION_OPTION_INVALID' }, String(userField))
  t.throws(resolve({ maxSessionsPerUser: 1 }), { code: 'SESSION_OPTION_INVALID', message: /userField/ })
  t.throws(resolve({ devices: true }), { code: 'SESSION_OPTION_INVALID', message: /userField/ })
  t.throws(resolve({ userField: 'user', onLimit: 'nothing' as never }), { code: 'SESSION_OPTION_INVALID' })
  t.doesNotThrow(resolve({ userField: 'user', maxSessionsPerUser: 1, onLimit: 'refuse', devices: true }))
  t.match(resolveOptions({}, { SESSION_SECRET: 'a secret of the tests 8f1c0d7e5b2a', SESSION_USER_FIELD: 'user', SESSION_MAX_PER_USER: '3', SESSION_ON_LIMIT: 'REFUSE', SESSION_DEVICES: 'yes' }),
    { userField: 'user', maxSessionsPerUser: 3, onLimit: 'refuse', devices: true })
})
