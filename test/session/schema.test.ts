import { equal, ok } from 'node:assert/strict'
import { Kind, Type, TypeRegistry, type TSchema } from '@sinclair/typebox'
import fc from 'fast-check'
import { test } from 'tap'
import { ANY_NUMBER, FieldSchema, type NumberRule } from '../../src/session/schema.js'

const ruleOf = (schema: TSchema, by = 1): NumberRule => new FieldSchema(Type.Object({ n: schema })).numberRule('n', by)

test('what a number may be, where type and bounds say it all', async (t) => {
  t.strictSame(ruleOf(Type.Number()), ANY_NUMBER)
  t.strictSame(ruleOf(Type.Integer()), { ...ANY_NUMBER, integer: true })
  t.strictSame(ruleOf(Type.Optional(Type.Integer({ minimum: -1, maximum: 10, description: 'says nothing of the number' }))), { min: -1, max: 10, integer: true, complete: true })
  t.strictSame(ruleOf(Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1 })), { min: Number.MIN_VALUE, max: 1 - Number.EPSILON / 2, integer: false, complete: true })
  t.strictSame(ruleOf(Type.Number({ exclusiveMinimum: -0, exclusiveMaximum: -0 })), { min: Number.MIN_VALUE, max: -Number.MIN_VALUE, integer: false, complete: true })
  t.match(ruleOf(Type.Number({ minimum: 5, exclusiveMinimum: 1, maximum: 6, exclusiveMaximum: 9 })), { min: 5, max: 6 }, 'the narrower bound counts')
  t.match(ruleOf(Type.Number({ minimum: -1e300, maximum: 1e300 })), { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }, 'beyond, no number is exact')
})

test('an exclusive bound is the next number', async () => {
  fc.assert(fc.property(fc.double({ noNaN: true, min: -1e15, max: 1e15 }), (bound) => {
    const schema = new FieldSchema(Type.Object({ above: Type.Number({ exclusiveMinimum: bound }), below: Type.Number({ exclusiveMaximum: bound }) }))
    for (const [name, next] of [['above', schema.numberRule('above', 1).min], ['below', schema.numberRule('below', 1).max]] as const) {
      ok(schema.fits(name, next), 'fits')
      const between = bound / 2 + next / 2
      ok(between === bound || between === next, 'and nothing is between')
    }
    const integers = new FieldSchema(Type.Object({ above: Type.Integer({ exclusiveMinimum: Math.trunc(bound) }) }))
    equal(Math.ceil(integers.numberRule('above', 1).min) + 0, Math.trunc(bound) + 1, 'plus zero: -0 is the number 0')
  }), { numRuns: 500 })
})

TypeRegistry.Set('Even', (_, value) => typeof value === 'number' && value % 2 === 0)

test('where a schema asks for more, the rule is not complete', async (t) => {
  const Defined = Type.Module({ Count: Type.Integer({ maximum: 5 }) })
  for (const [what, schema] of Object.entries({
    'a multiple': Type.Integer({ multipleOf: 5 }),
    'a literal': Type.Literal(3),
    'a union': Type.Union([Type.Literal(1), Type.Number({ minimum: 5 })]),
    'a union with text': Type.Union([Type.String(), Type.Number()]),
    'bounds that count for nothing': Type.Union([Type.Number(), Type.Null()], { minimum: 5 }),
    'an intersection': Type.Intersect([Type.Number({ minimum: 0 }), Type.Number({ maximum: 10 })]),
    'a negation': Type.Not(Type.Literal(3)),
    'a reference': Defined.Import('Count'),
    anything: Type.Any(),
    'a kind of the application': Type.Unsafe({ [Kind]: 'Even', type: 'number' })
  })) t.equal(ruleOf(schema).complete, false, what)
  t.match(ruleOf(Type.Integer({ multipleOf: 5, maximum: 10 })), { max: 10, integer: true, complete: false }, 'bounds are bounds all the same')
  t.match(ruleOf(Type.Union([Type.Number(), Type.Null()], { minimum: 5 })), { min: ANY_NUMBER.min }, 'the check does not look at them either')
})

test('what can never be is refused', async (t) => {
  for (const schema of [
    Type.String(), Type.Boolean(), Type.Null(), Type.Array(Type.Number()), Type.Object({ n: Type.Number() }), Type.Literal('3'), Type.Literal(true), Type.Union([Type.String(), Type.Null()]),
    Type.Union([Type.Literal('a'), Type.Union([Type.Boolean(), Type.Array(Type.Any())])]), Type.Optional(Type.String()), Type.Tuple([Type.Number()]), Type.Record(Type.String(), Type.Number()), Type.TemplateLiteral('n')
  ]) t.throws(() => ruleOf(schema), { code: 'SESSION_SCHEMA_MISMATCH', message: /"n".*no number/ }, JSON.stringify(schema))
  t.throws(() => ruleOf(Type.Integer(), 0.5), { code: 'SESSION_SCHEMA_MISMATCH', message: /"n".*integer/ })
  t.doesNotThrow(() => ruleOf(Type.Integer(), 1e15))
  t.doesNotThrow(() => ruleOf(Type.Number(), 0.5))
})

test('fields that the schema does not name', async (t) => {
  const free = new FieldSchema(Type.Object({}))
  t.ok(free.fits('other', 'x'))
  t.strictSame(free.numberRule('other', 0.5), ANY_NUMBER)
  const closed = new FieldSchema(Type.Object({ n: Type.Number() }, { additionalProperties: false }))
  for (const name of ['other', 'constructor', '__proto__', 'toString']) {
    t.notOk(closed.fits(name, 1))
    t.throws(() => { closed.assert(name, 1) }, { code: 'SESSION_SCHEMA_MISMATCH', message: /no such field/ })
    t.throws(() => closed.numberRule(name, 1), { code: 'SESSION_SCHEMA_MISMATCH', message: /no such field/ })
  }
  const typed = new FieldSchema(Type.Object({ n: Type.String() }, { additionalProperties: Type.Integer({ maximum: 5 }) }))
  t.strictSame([typed.fits('n', 'x'), typed.fits('n', 1), typed.fits('other', 1), typed.fits('other', 6), typed.fits('other', 'x')], [true, false, true, false, false])
  t.throws(() => { typed.assert('other', 'x') }, { code: 'SESSION_SCHEMA_MISMATCH', message: /"other".*integer/ })
  t.match(typed.numberRule('other', 1), { max: 5, integer: true })
  t.throws(() => typed.numberRule('n', 1), { code: 'SESSION_SCHEMA_MISMATCH' })
})
