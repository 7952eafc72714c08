import { test } from 'tap'
import { apart, delta, increment, RULES, set } from '../contract/kit.js'
import { applyOperations, isRefusal } from '../../src/store/operations.js'

test('the data that are given stay as they are', async (t) => {
  const before = new Map([['a', '1']])
  const { data } = applyOperations(before, delta([set('a', '2'), set('b', '3')]), RULES)
  t.strictSame([...before], [['a', '1']])
  t.strictSame([...data], [['a', '2'], ['b', '3']])
})

test('where a write is refused, the data are what they were', async (t) => {
  const before = new Map([['a', 'x']])
  const { data, results, refusal } = applyOperations(before, delta([set('b', '1'), increment('a')]), RULES)
  t.strictSame([...data], [['a', 'x']])
  t.strictSame(results, [])
  t.strictSame(refusal, { refused: 'not-a-number', field: 'a' })
})

test('a refusal is told apart from every other result', async (t) => {
  const { results } = applyOperations(new Map([['a', 'x']]), apart(increment('a')), RULES)
  t.ok(isRefusal(results[0]!))
  for (const result of [true, false, null, 'refused', Buffer.from('refused'), { done: false, current: null }]) t.notOk(isRefusal(result))
})
