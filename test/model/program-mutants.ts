/**
 * What is broken in the plugin to prove that random programs notice it: pieces of source that are replaced, as in
 * `mutants.ts`, and in which ways programs have to fail because of that. `program-mutations.test.ts` runs them.
 *
 * They go by what the guarantees are about. Where one becomes meaningless, because there is no such step any more, it goes;
 * where its text only moved, it moves along.
 */
import type { Replacement } from './mutants.js'
import type { Kind } from './program-kinds.js'
import type { Program, Round, Step, Turn } from './programs.js'

/* The texts are pieces of source, with their own ${…}. */
/* eslint-disable no-template-curly-in-string */

/** A way to break the plugin. */
export interface ProgramMutant {
  readonly name: string
  readonly replacements: readonly Replacement[]
  /** Any of these is enough. */
  readonly shows: readonly Kind[]
  /** The application that it concerns, where it concerns no other: there it is found sooner. */
  readonly app?: Program['app']
  /** Only Redis executes the text. Default: the store in memory, where programs take a tenth of the time. */
  readonly store?: 'redis'
  /** What shows it, where random programs do so seldom. Run before them. */
  readonly example?: Program
}

/** Each call of the store takes two turns of the event loop. */
const SLOW = [1]

/** An example of one request, of a browser that has a session. */
function example (begin: Partial<Omit<Program, 'rounds'>> & Partial<Round>, ...steps: Array<Turn | Step>): Program {
  const { app = 'plain', member = true, yields = [], ...round } = begin
  return { app, member, yields, rounds: [{ handler: [steps.map((step): Turn => 'do' in step ? step : { do: step })], ...round }] }
}

/** A replacement in a file of `src/session`. */
function inSession (file: string, from: string, to: string): Replacement {
  return { file: `session/${file}.ts`, from, to }
}

const belonging: readonly ProgramMutant[] = [
  {
    name: 'a live operation that waits in the queue goes to the record that the session stands for when its turn comes',
    replacements: [
      inSession('session', 'await this.#persistence.execute(batch)', 'await this.#persistence.execute(batch, this.#current)'),
      inSession('persistence', 'async execute (batch: Batch): Promise<void> {\n    const { copy } = batch', 'async execute (batch: Batch, copy: WorkingCopy): Promise<void> {')
    ],
    shows: ['cookie of no session', 'lost', 'wrong result', 'logged out']
  },
  {
    name: 'save() stores what was changed between its call and its turn',
    replacements: [
      inSession('session', 'const changes = this.#take()\n      const ending = [...this.#ending]', 'const ending = [...this.#ending]'),
      inSession('session', 'await this.#commit(copy, changes, ending)', 'await this.#commit(copy, copy.snapshot.take(), ending)')
    ],
    shows: ['stored by a failure', 'lost'],
    example: example({ yields: SLOW }, ['set', 'a', 2], { do: ['live.incr', 'n', 1], wait: 'later' }, { do: ['save'], wait: 'forgotten' }, ['set', 'a', 3], ['throw', 500])
  },
  {
    name: 'null, or destroy(), begins the new session only when the old one has ended',
    replacements: [inSession(
      'session',
      'this.#goOn(new WorkingCopy(this.#context))\n      const ending = [...this.#ending]\n      await this.#enqueue(async () => { await this.#end(ending) })',
      'this.#flush()\n      const ending = [...this.#ending]\n      await this.#enqueue(async () => { await this.#end(ending) })\n      this.#goOn(new WorkingCopy(this.#context))'
    )],
    shows: ['logged out', 'lost', 'reads otherwise']
  },
  {
    name: 'a live write to one field takes other fields\' objects out of the session',
    replacements: [inSession('snapshot', 'this.#letGo(name)\n    this.#learn(name, text)', 'this.#values?.clear()\n    this.#learn(name, text)')],
    shows: ['lost', 'reads otherwise']
  }
]

const order: readonly ProgramMutant[] = [
  {
    name: 'the answer to a live write drops what was assigned to the field meanwhile',
    replacements: [inSession('snapshot', 'this.#letGo(name)\n    this.#learn(name, text)', 'this.#values?.delete(name)\n    this.#pending?.texts.delete(name)\n    this.#learn(name, text)')],
    shows: ['lost', 'reads otherwise']
  },
  {
    name: 'the answer to reload() drops what was changed after its call',
    replacements: [inSession('snapshot', 'for (const name of names) this.#noteQuietly(name)\n    this.#leave(changes)', 'this.#leave(changes)\n    this.discard()')],
    shows: ['lost', 'reads otherwise']
  },
  {
    name: 'reload() keeps unsaved changes of before its call',
    replacements: [inSession('snapshot', 'this.discard()\n    return this.take()', 'const changes = new Changes()\n    this.#asked = [...this.#asked ?? [], changes]\n    return changes')],
    shows: ['lost', 'reads otherwise', 'wrong settings']
  },
  {
    name: 'a clear() that a live write took along is executed once more',
    replacements: [inSession('snapshot', 'Object.assign(this.pending, { settings, touch, rotate })', 'Object.assign(this.pending, { settings, touch, rotate, cleared: true })')],
    shows: ['wrong result', 'lost', 'reads otherwise']
  },
  {
    name: 'clear() while an earlier clear() is being saved is taken for that one',
    replacements: [inSession('snapshot', 'this.#values?.clear()\n    this.pending.clear()', 'if (this.#asked?.some(({ cleared }) => cleared) === true) return\n    this.#values?.clear()\n    this.pending.clear()')],
    shows: ['lost', 'reads otherwise'],
    example: example({ yields: SLOW }, ['clear'], ['set', 'a', 2], { do: ['save'], wait: 'later' }, ['clear'])
  },
  {
    name: 'the response is saved while operations are under way',
    replacements: [
      inSession('session', 'if (this.#isBusy) await this.#idle()\n      if (failed) {', 'if (failed) {'),
      inSession('session', 'await this.#enqueue(async () => { await this.#commit(this.#current, this.#take()) })\n        if (this.#isBusy) await this.#idle()', 'await this.#commit(this.#current, this.#take())')
    ],
    shows: ['lost', 'not ended', 'cookie of no session']
  },
  {
    name: 'a save that failed while another one waited lets that one succeed without its changes',
    replacements: [inSession('snapshot', 'else {\n        next.putBeneath(rest)', 'else {\n        this.pending.putBeneath(rest)')],
    shows: ['acknowledged and lost', 'stored by a failure', 'reads otherwise'],
    example: example({ yields: SLOW, faults: [{ call: 1, count: 1, when: 'before' }] }, ['set', 'a', 2], { do: ['save'], wait: 'ignored', caught: true }, ['save'], ['throw', 500])
  },
  {
    name: 'increments begin at 0',
    replacements: [{ file: 'store/operations.ts', from: "addWithin(state.data.get(field) ?? '0', added)", to: "addWithin('0', added)" }],
    shows: ['wrong result', 'lost']
  }
]

const looking: readonly ProgramMutant[] = [
  {
    name: 'nested changes are not noticed',
    replacements: [inSession('snapshot', 'if (text !== before) this.pending.texts.set(name, text)', 'if (text !== before && this.#pending?.texts.has(name) === true) this.pending.texts.set(name, text)')],
    shows: ['lost', 'acknowledged and lost']
  },
  {
    name: 'a web Response keeps its own Vary',
    replacements: [{ file: 'response/headers.ts', from: 'if (own.has(name)) own.set', to: "if (own.has(name) && name !== 'vary') own.set" }],
    shows: ['no Vary']
  },
  {
    name: 'the answer to a request that looked does not vary',
    replacements: [inSession('session', 'looked: this.view !== undefined', 'looked: false')],
    shows: ['no Vary']
  }
]

const responses: readonly ProgramMutant[] = [
  {
    name: 'the response\'s status is what the handler\'s error said, although the save failed after it',
    replacements: [{ file: 'plugin.ts', from: 'reply.code(error.statusCode ?? 500)', to: 'if (reply.statusCode < 400) reply.code(error.statusCode ?? 500)' }],
    shows: ['failure under another status']
  },
  {
    name: 'nobody listens to the errors of a stream while the session is being saved',
    replacements: [{ file: 'response/held-payload.ts', from: "if (this.#isStream) this.#payload.on?.('error', this.#note)", to: '' }],
    shows: ['uncaught exception']
  },
  {
    name: 'a stream is left as it is when the save fails',
    replacements: [{ file: 'plugin.ts', from: 'held.close()', to: '' }],
    shows: ['stream left open'],
    example: example({ answer: { kind: 'stream', status: 200 }, faults: [{ call: 1, count: 1, when: 'before' }] }, ['set', 'a', 2])
  },
  {
    name: 'an error in the plugin\'s onSend hook never gets to Fastify',
    replacements: [{ file: 'plugin.ts', from: 'writeHeaders(reply, cookie, session.answer(reply.statusCode))\n      send(done, error)', to: 'writeHeaders(reply, cookie, session.answer(reply.statusCode))' }],
    shows: ['no answer']
  },
  {
    name: 'the promise of an operation that nobody waits for is rejected without a handler',
    replacements: [inSession('session', 'this.#open.add(asked)\n    return asked', 'this.#open.add(asked)\n    void Promise.prototype.then.call(asked, () => {})\n    return asked')],
    shows: ['unhandled rejection']
  },
  {
    name: 'a live write, or a reload(), that failed and that nobody waited for does not fail the response',
    replacements: [inSession('session', 'if (unseen !== undefined) throw unseen.error', '')],
    shows: ['acknowledged and lost', 'another status'],
    example: example({ faults: [{ call: 1, count: 1, when: 'before' }] }, { do: ['live.set', 'a', 2], wait: 'forgotten' })
  },
  {
    name: 'a handler that answers 500 is saved',
    replacements: [inSession('session', 'if (failed) {', 'if (failed && status < 0) {')],
    shows: ['stored by a failure']
  },
  {
    name: 'a handler that throws 403 is not saved',
    replacements: [{ file: 'plugin.ts', from: 'status >= 500 && !options.saveOnError', to: 'status >= 400 && !options.saveOnError' }],
    shows: ['lost']
  }
]

const outcomes: readonly ProgramMutant[] = [
  {
    name: 'the new secret is forgotten when the answer to its write is lost',
    replacements: [inSession('steps', 'if (!(error instanceof StoreUnavailableError)) this.#drop(step)', 'this.#drop(step)')],
    shows: ['logged out', '409 without a reason']
  },
  {
    name: 'a 503 takes back the cookie of a new secret that stays in force',
    replacements: [inSession('persistence', 'await this.steps.takeBack(this.#tryLater, which)', '')],
    shows: ['logged out']
  },
  {
    name: 'the record that a login replaces ends before the new one is made',
    replacements: [inSession('persistence', 'const { store, rules, users } = this.#context.instance\n    for (let attempt', 'const { store, rules, users } = this.#context.instance\n    for (const { copy: old } of copy.leaving()) await store.destroy(old.identity.id)\n    for (let attempt')],
    shows: ['logged out']
  },
  {
    name: 'a second attempt takes the retirement that the first one sent for somebody else\'s ending',
    replacements: [inSession('persistence', 'await this.steps.clearUp(copy)\n    const { store, endings, users }', 'const { store, endings, users }')],
    shows: ['409 without a reason', 'logged out', 'lost']
  },
  {
    name: 'what was assigned after an unknown outcome is compared with what was stored before it',
    replacements: [inSession('snapshot', 'if (!sure) {', 'if (sure) {')],
    shows: ['acknowledged and lost'],
    example: example({ faults: [{ call: 1, count: 1, when: 'after' }] }, ['set', 'a', 2], { do: ['save'], caught: true }, ['set', 'a', 1])
  },
  {
    name: 'of a save that asks for a new secret, a part of the data is written before the secret is',
    replacements: [inSession('persistence', 'const settings: Settings = { ...write.settings, digest }', `const settings: Settings = { ...write.settings, digest }
    if (write.operations.length > 1) await store.write(identity.id, identity.lineage, { ...write, operations: write.operations.slice(0, 1), settings: {} }, this.#context.instance.rules)`)],
    shows: ['half done']
  },
  {
    name: 'an elevation takes effect before its new secret does',
    replacements: [inSession('persistence', 'const settings: Settings = { ...write.settings, digest }', `const settings: Settings = { ...write.settings, digest }
    const { elevate } = write.settings
    if (elevate !== undefined) await store.write(identity.id, identity.lineage, { ...write, operations: [], settings: { elevate } }, this.#context.instance.rules)`)],
    shows: ['elevated by the old cookie']
  },
  {
    name: 'the entry of a login that failed stays in the user\'s list',
    replacements: [inSession('persistence', 'if (users !== undefined) await users.withdraw(', 'if (users !== undefined && id === undefined) await users.withdraw(')],
    shows: ['cannot be tried again'],
    app: 'users',
    example: example({ app: 'users', member: false, faults: [{ call: 1, count: 1, when: 'after' }] }, ['set', 'user', 'ann'])
  },
  {
    name: 'a save throws SESSION_STORE_UNAVAILABLE out of the blue',
    replacements: [inSession('persistence', 'await this.steps.clearUp(copy)\n      await this.#store(copy, changes)', "if (changes.texts.size > 2) throw new StoreUnavailableError('busy')\n      await this.steps.clearUp(copy)\n      await this.#store(copy, changes)")],
    shows: ['503 without a failure']
  }
]

const logout: readonly ProgramMutant[] = [
  {
    name: 'a destroy() that failed is not tried again',
    replacements: [inSession('session', 'await this.#persistence.end(left)\n    this.#ending = this.#ending.filter((copy) => !left.includes(copy))', 'this.#ending = this.#ending.filter((copy) => !left.includes(copy))\n    await this.#persistence.end(left)')],
    shows: ['not ended'],
    example: example({ faults: [{ call: 1, count: 1, when: 'before' }] }, { do: ['destroy'], caught: true })
  },
  {
    name: 'a destroy() that failed twice is answered by the handler\'s status',
    replacements: [inSession('session', 'copy.snapshot.returned(changes, true)\n      throw error', 'copy.snapshot.returned(changes, true)\n      return')],
    shows: ['not ended'],
    example: example({ faults: [{ call: 1, count: 2, when: 'before' }] }, { do: ['destroy'], caught: true })
  },
  {
    name: 'the entry of a session stays in the user\'s list when the answer to its end is lost',
    replacements: [inSession('persistence', "if (await store.destroy(id)) endings.ended(id, 'destroyed')\n        if (users !== undefined) await", "const ended = await store.destroy(id)\n        if (ended) endings.ended(id, 'destroyed')\n        if (ended && users !== undefined) await")],
    shows: ['locked out by a logout'],
    app: 'users',
    example: example({ app: 'users', faults: [{ call: 1, count: 1, when: 'after' }] }, { do: ['destroy'], caught: true })
  },
  {
    name: 'a logout does not end a record whose secret another request changed',
    replacements: [inSession('persistence', 'if (await store.destroy(id)) endings', 'if (await store.destroy(id, copy.identity.lineage)) endings')],
    shows: ['old cookie lives', 'left over', 'not ended'],
    app: 'plain',
    example: example({}, ['tab', 'rotate'], ['destroy'])
  },
  {
    name: 'a logout ends nothing',
    replacements: [inSession('persistence', "if (await store.destroy(id)) endings.ended(id, 'destroyed')", '')],
    shows: ['old cookie lives', 'left over', 'not ended']
  },
  {
    name: 'destroy() works where the session is off',
    replacements: [inSession('session', 'this.#assertChangeable()\n      this.#ending.push', 'this.#assertNotDegraded()\n      this.#ending.push')],
    shows: ['succeeds in spite of all'],
    app: 'plain',
    example: example({ off: true }, { do: ['destroy'], caught: true })
  },
  {
    name: 'regenerate() leaves the old record',
    replacements: [inSession('persistence', "if (copy.phase !== 'stored') return\n    for", "if (copy.phase !== 'gone') return\n    for")],
    shows: ['old cookie lives', 'left over']
  },
  {
    name: 'regenerate() carries on data of a session that another request ended',
    replacements: [inSession('persistence', 'if (await this.#retire(old, copy, carried) || !carried) continue', "if (await this.#retire(old, copy, carried) || old.phase === 'over') continue")],
    shows: ['succeeds in spite of all', 'another status'],
    app: 'plain',
    example: example({}, ['tab', 'destroy'], ['regenerate', ['a']])
  }
]

const time: readonly ProgramMutant[] = [
  {
    name: 'the session is sealed after the save, not before',
    replacements: [
      { file: 'plugin.ts', from: 'session.seal()\n    if (!first || !session.unfinished) {', to: 'if (!first || !session.unfinished) {\n      session.seal()' },
      { file: 'plugin.ts', from: 'release(reply)\n      const error = held.release()', to: 'session.seal()\n      release(reply)\n      const error = held.release()' },
      { file: 'plugin.ts', from: 'release(reply)\n      held.close()', to: 'session.seal()\n      release(reply)\n      held.close()' }
    ],
    shows: ['is not refused']
  },
  {
    name: 'a session that nobody looked at is not sealed',
    replacements: [{ file: 'plugin.ts', from: 'if (known === SAVED) session.seal()', to: '' }],
    shows: ['is not refused']
  },
  {
    name: 'a sealed session throws also after the response',
    replacements: [inSession('session', 'if (this.#context.reply?.raw.headersSent !== true) throw new SealedError()', 'throw new SealedError()')],
    shows: ['throws after the response']
  },
  {
    name: 'reload() takes a secret that was renewed meanwhile for a stolen one',
    replacements: [inSession('persistence', "copy.phase === 'stored' ? await", "copy.phase === 'stored' && await this.#context.instance.store.stands(id, digestOf(copy.identity.secret)) ? await")],
    shows: ['409 without a reason', 'logged out'],
    app: 'renewing'
  },
  {
    name: 'rotate() does nothing',
    replacements: [inSession('session', 'this.#current.snapshot.pending.rotate = true', '')],
    shows: ['not rotated']
  },
  {
    name: 'elevation lets the time of authentication as it was (Redis)',
    replacements: [{ file: 'store/redis-scripts.ts', from: "if elevation then\n  meta('${record.AUTHENTICATED}', ms(now))", to: 'if elevation then' }],
    shows: ['wrong settings'],
    store: 'redis'
  },
  {
    name: 'the time of authentication of a new record is carried over although the session was elevated (Redis)',
    replacements: [{ file: 'store/redis-scripts.ts', from: "meta('${record.AUTHENTICATED}', ms(now))", to: "meta('${record.AUTHENTICATED}', binding and binding.since ~= '' and binding.since or ms(now))" }],
    shows: ['wrong settings'],
    app: 'users',
    store: 'redis',
    example: example({ app: 'users' }, ['regenerate', ['user']], ['live.set', 'b', 1], ['elevate'])
  }
]

const limits: readonly ProgramMutant[] = [
  {
    name: 'the save at the end tries once more what a save() was refused for',
    replacements: [inSession('persistence', 'else copy.snapshot.dropped(changes)\n      throw error', 'else copy.snapshot.returned(changes, true)\n      throw error')],
    shows: ['limit raised again'],
    app: 'limited',
    example: example({ app: 'limited' }, ['set', 'c', 1], ['set', 'd', 1], { do: ['save'], caught: true })
  },
  {
    name: 'a write that is refused stores the part that has room',
    replacements: [inSession('persistence', "touch: extension, mode: 'together' }, secret)", `touch: extension, mode: 'apart' }, secret)
    for (const result of written?.results ?? []) if (result !== null && typeof result === 'object' && 'refused' in result) throw refusalError(result.refused, '', this.#context.instance.rules)`)],
    shows: ['stored by a failure', 'lost'],
    app: 'limited'
  },
  {
    name: 'the session that a login ends counts towards the user\'s limit',
    replacements: [inSession('member', 'return this.#copy.line().slice(1).filter(', 'return this.#copy.line().slice(1, 1).filter(')],
    shows: ['another status', 'fails without a reason'],
    app: 'users'
  }
]

const cookies: readonly ProgramMutant[] = [
  {
    name: 'a web Response keeps its own Cache-Control',
    replacements: [{ file: 'response/headers.ts', from: 'if (own.has(name)) own.set', to: "if (own.has(name) && name !== 'cache-control') own.set" }],
    shows: ['cookie may be cached']
  },
  {
    name: 'a 503 of the application takes the cookie along',
    replacements: [
      inSession('session', 'if (status === 503) await this.#takeBack()\n      else if (', 'if ('),
      inSession('session', 'cookie: status === 503 ? undefined : typeof owed', 'cookie: typeof owed')
    ],
    shows: ['cookie on a 503']
  },
  {
    name: 'a second Set-Cookie is put beside the first',
    replacements: [{ file: 'response/headers.ts', from: '.filter((line) => before?.includes(line) !== true)', to: '' }],
    shows: ['two cookies']
  },
  {
    name: 'a destroy() after the cookie of a session was issued leaves it in the response',
    replacements: [inSession('persistence', 'if (this.#token !== undefined && all.includes(this.#token.copy)) this.#token = undefined', '')],
    shows: ['cookie of no session']
  },
  {
    name: 'destroy() does not clear the cookie',
    replacements: [inSession('persistence', 'this.#ended ||= known', '')],
    shows: ['cookie not cleared']
  },
  {
    name: 'a token is signed in base64',
    replacements: [{ file: 'cookie/token.ts', from: 'return toUrl(this.#signer.sign(`${id}.${secret}`))', to: 'return this.#signer.sign(`${id}.${secret}`)' }],
    shows: ['malformed token']
  },
  {
    name: 'a 503 has no Retry-After',
    replacements: [{ file: 'response/headers.ts', from: "if (comeAgain) headers.set('retry-after'", to: "if (comeAgain && noStore && looked && !looked) headers.set('retry-after'" }],
    shows: ['no Retry-After']
  }
]

/** All mutants, by what they break. */
export const MUTANTS: Readonly<Record<string, readonly ProgramMutant[]>> = {
  'which record an operation belongs to': belonging,
  'program order': order,
  looking,
  'complete responses': responses,
  'unknown outcomes': outcomes,
  logout,
  'before and after': time,
  limits,
  cookie: cookies
}
