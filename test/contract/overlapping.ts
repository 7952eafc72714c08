/** Many callers at the same time: none lost, none counted twice, one winner where there can be one only. */
import { apart, created, dataOf, delta, increment, kept, newDigest, newOwner, type Part, RENEWING, replace, RULES, set, setIfAbsent, take } from './kit.js'

const MANY = 50

/** The results of one call per number, all under way at the same time. */
async function atOnce<T> (call: (i: number) => Promise<T>): Promise<T[]> {
  return await Promise.all(Array.from({ length: MANY }, (_, i) => call(i)))
}

export const overlapping: Part = async (t, subject) => {
  const { store } = subject
  const WIDE = { ...RULES, maxFields: 1000, maxRecordSize: 100_000 }

  await t.test('of parallel increments each counts once', async (t) => {
    const { id, digest } = await created(subject)
    const answers = await atOnce(async () => (await store.write(id, digest, apart(increment('n')), RULES))?.results[0])
    t.strictSame(answers.map(Number).sort((a, b) => a - b), Array.from({ length: MANY }, (_, i) => i + 1))
    t.strictSame(await dataOf(subject, { id, digest }), { n: String(MANY) })
  })

  await t.test('of parallel takes exactly one gets the text', async (t) => {
    const { id, digest } = await created(subject, { once: 'the text' })
    const answers = await atOnce(async () => (await store.write(id, digest, apart(take('once')), RULES))?.results[0])
    t.strictSame(answers.filter((answer) => answer !== null), [Buffer.from('the text')])
    t.equal(answers.length, MANY)
  })

  await t.test('of parallel writers to an absent field exactly one sets it', async (t) => {
    const { id, digest } = await created(subject)
    const answers = await atOnce(async (i) => (await store.write(id, digest, apart(setIfAbsent('a', `text ${i}`)), RULES))?.results[0])
    t.equal(answers.filter((answer) => answer === true).length, 1)
    t.strictSame(await dataOf(subject, { id, digest }), { a: `text ${answers.indexOf(true)}` })
  })

  await t.test('of parallel replacements of one text exactly one is done', async (t) => {
    const { id, digest } = await created(subject, { a: 'old' })
    const answers = await atOnce(async (i) => (await store.write(id, digest, apart(replace('a', 'old', `new ${i}`)), RULES))?.results[0])
    const done = answers.findIndex((answer) => (answer as { done: boolean }).done)
    t.strictSame(answers, answers.map((_, i) => ({ done: i === done, current: `new ${done}` })))
    t.strictSame(await dataOf(subject, { id, digest }), { a: `new ${done}` })
  })

  await t.test('of parallel writes to different fields none is lost', async (t) => {
    const { id, digest } = await created(subject)
    await atOnce(async (i) => await store.write(id, digest, delta([set(`f${i}`, `text ${i}`), increment('n')], { touch: 'always' }), WIDE))
    t.strictSame(await dataOf(subject, { id, digest }), { n: String(MANY), ...Object.fromEntries(Array.from({ length: MANY }, (_, i) => [`f${i}`, `text ${i}`])) })
  })

  await t.test('no reader sees a write half done', async (t) => {
    const { id, digest } = await created(subject, { a: '0', b: '0' })
    const pairs = await atOnce(async (i) => {
      if (i % 2 === 0) {
        await store.write(id, digest, delta([increment('a'), increment('b')]), RULES)
        return ['same', 'same']
      }
      const loaded = await store.load(id, digest, true, RULES)
      return [loaded?.fields.get('a'), loaded?.fields.get('b')]
    })
    t.strictSame(pairs.filter(([a, b]) => a !== b || a === undefined), [])
  })

  await t.test('of parallel creations of one id exactly one happens', async (t) => {
    const { id } = newOwner()
    const digests = Array.from({ length: MANY }, newDigest)
    const answers = await atOnce(async (i) => await store.create(id, digests[i]!, delta([set('who', String(i))]), RULES))
    t.equal(answers.filter((answer) => answer !== undefined).length, 1)
    const winner = answers.findIndex((answer) => answer !== undefined)
    t.match((await kept(subject, { id, digest: '' })).fields, { who: String(winner), '@digest': digests[winner]! })
  })

  await t.test('of parallel destructions exactly one ends the record', async (t) => {
    const { id, digest } = await created(subject)
    const answers = await atOnce(async (i) => await store.destroy(id, i % 2 === 0 ? digest : undefined))
    t.equal(answers.filter((answer) => answer).length, 1)
  })

  await t.test('writes that overlap with the end of the record do not bring it back', async (t) => {
    const { id, digest } = await created(subject)
    const answers = await atOnce(async (i) => i === MANY / 2
      ? await store.destroy(id)
      : await store.write(id, digest, delta([set(`f${i}`, '1'), increment('n')], { touch: 'always', settings: { idleTimeout: 50 } }), WIDE))
    t.equal(answers[MANY / 2], true)
    t.equal(answers.at(-1), undefined)
    t.equal(await store.inspect(id), undefined)
  })

  await t.test('of parallel rotations exactly one happens', async (t) => {
    const { id, digest } = await created(subject)
    const digests = Array.from({ length: MANY }, newDigest)
    const answers = await atOnce(async (i) => await store.write(id, digest, delta([set('who', String(i))], { settings: { digest: digests[i]! } }), RULES))
    const winner = answers.findIndex((answer) => answer !== undefined)
    t.equal(answers.filter((answer) => answer !== undefined).length, 1)
    t.match((await kept(subject, { id, digest })).fields, { who: String(winner), '@digest': digests[winner]! })
  })

  await t.test('parallel offers of a successor all get the one that stands', async (t) => {
    const { id, digest } = await created(subject)
    const digests = Array.from({ length: MANY }, newDigest)
    const answers = await atOnce(async (i) => await store.renew(id, digest, digests[i]!, `sealed ${i}`))
    t.equal(new Set(answers).size, 1)
    const winner = answers.findIndex((answer, i) => answer === `sealed ${i}`)
    t.match((await kept(subject, { id, digest })).fields, { '@next': digests[winner]!, '@sealed': `sealed ${winner}` })
  })

  await t.test('parallel requests with predecessor and successor all get in', async (t) => {
    const { id, digest } = await created(subject, { user: 'andrew' })
    const next = newDigest()
    await store.renew(id, digest, next, 'sealed')
    const answers = await atOnce(async (i) => await store.load(id, i % 2 === 0 ? digest : next, true, RENEWING))
    t.strictSame(answers.map((answer) => answer?.standing), answers.map((_, i) => i % 2 === 0 ? 'superseded' : 'current'))
    t.strictSame(answers.map((answer) => answer?.fields.get('@sealed')), answers.map(() => 'sealed'))
  })
}
