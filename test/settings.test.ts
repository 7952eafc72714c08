import { runInNewContext } from 'node:vm'
import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import { isPlain, kindOf, leaves, problemOf, withDefaults } from '../src/settings.js'

const schema = Type.Object({
  name: Type.Optional(Type.String()),
  size: Type.Integer({ default: 5, maximum: 10 }),
  mode: Type.Union([Type.Literal('fast'), Type.Literal('slow')], { default: 'slow' }),
  inner: Type.Object({
    deep: Type.Object({ on: Type.Boolean({ default: true }) }, { additionalProperties: false, default: {} })
  }, { additionalProperties: false, default: {} }),
  any: Type.Optional(Type.Any())
}, { additionalProperties: false })

test('an object literal is plain, from whatever realm, and nothing else is', async (t) => {
  for (const plain of [{}, { a: 1 }, Object.create(null), JSON.parse('{"a":1}'), runInNewContext('({ a: 1 })'), Object.freeze({})]) t.ok(isPlain(plain))
  class Own {}
  for (const other of [undefined, null, 5, 'x', true, [], () => 1, new Map(), new Date(), new Own(), Object.create({ a: 1 }), Object.create(new Own()), Buffer.alloc(1), Promise.resolve(), /x/, new Proxy([], {}), runInNewContext('[]')]) {
    t.notOk(isPlain(other), kindOf(other))
  }
})

test('defaults are filled in at every depth, and what was given is neither changed nor copied', async (t) => {
  t.strictSame(withDefaults(schema, {}), { size: 5, mode: 'slow', inner: { deep: { on: true } } })
  t.strictSame(withDefaults(schema, { size: undefined, name: undefined, inner: { deep: undefined } }), { size: 5, mode: 'slow', inner: { deep: { on: true } } })
  const any = new Proxy({}, { get () { throw new Error('looked at') }, ownKeys () { throw new Error('looked at') } })
  const given = Object.freeze({ any, inner: Object.freeze({ deep: Object.freeze({ on: false }) }), mode: 'FAST' })
  const complete = withDefaults(schema, given) as typeof given
  t.ok(complete.any === any)
  t.strictSame([complete.mode, complete.inner, given.mode], ['fast', { deep: { on: false } }, 'FAST'])
  for (const wrong of [5, null, 'x', [1]]) t.equal(withDefaults(schema, wrong), wrong, 'is left for problemOf')
})

test('what is wrong is said in words that repeat no value', async (t) => {
  const problem = (given: unknown): unknown => problemOf(schema, withDefaults(schema, given))
  t.equal(problem({}), undefined)
  t.equal(problem({ any: () => 1, name: 'x', mode: 'Fast' }), undefined)
  for (const [given, path, message] of [
    [null, '', 'expected an object, not null'],
    [new Map(), '', 'expected an object, not an object of class Map'],
    [{ size: 11 }, 'size', 'expected a whole number, at most 10'],
    [{ size: 1.5 }, 'size', 'expected a whole number, at most 10'],
    [{ size: 'SECRET' }, 'size', 'expected a whole number, at most 10, not a string'],
    [{ mode: 'SECRET' }, 'mode', 'expected one of fast, slow'],
    [{ mode: Symbol('SECRET') }, 'mode', 'expected one of fast, slow, not a symbol'],
    [{ name: 5n }, 'name', 'expected a string, not a bigint'],
    [{ inner: { deep: new Date() } }, 'inner.deep', 'expected an object, not an object of class Date'],
    [{ inner: { deep: { on: 'SECRET' } } }, 'inner.deep.on', 'expected true or false, not a string']
  ] as Array<[unknown, string, string]>) t.strictSame(problem(given), { path, message, unknown: false })
  for (const [given, path] of [[{ a: 1 }, 'a'], [{ inner: { deep: { 'a/b~c': 1 } } }, 'inner.deep.a/b~c'], [JSON.parse('{"__proto__":1}'), '__proto__']] as Array<[unknown, string]>) {
    t.strictSame(problem(given), { path, message: 'unknown', unknown: true })
  }
  t.strictSame(problemOf(Type.Object({ must: Type.String() }), {}), { path: 'must', message: 'required', unknown: false })
})

test('all that is no group is found, with its path', async (t) => {
  t.strictSame([...leaves(schema)].map(([path]) => path.join('.')), ['name', 'size', 'mode', 'inner.deep.on', 'any'])
})
