/** Programs that once failed, or would have, kept for ever. */
import type { Program, Round, Turn } from './programs.js'

type Kept = readonly [name: string, program: Program]

/** A step that the program does not wait for, in three ways. */
const later = (step: Turn['do']): Turn => ({ do: step, wait: 'later' })
const ignored = (step: Turn['do']): Turn => ({ do: step, wait: 'ignored' })
const forgotten = (step: Turn['do']): Turn => ({ do: step, wait: 'forgotten' })
const caught = (step: Turn['do']): Turn => ({ do: step, caught: true })

type Begin = Partial<Omit<Program, 'rounds'>> & Partial<Round>

/** A program of one request with one branch. Without more, of a browser that has a session. */
function program ({ app = 'plain', member = true, yields = [], ...round }: Begin, ...turns: Array<Turn | Turn['do']>): Program {
  const steps = turns.map((turn): Turn => 'do' in turn ? turn : { do: turn })
  return { app, member, yields, rounds: [{ handler: [steps], ...round }] }
}

/** The same for a browser with a session and one without, for whom the store has one call less to answer. */
function everybody (name: string, { faults = [], ...begin }: Begin, ...turns: Array<Turn | Turn['do']>): Kept[] {
  const earlier = faults.map((fault) => ({ ...fault, call: fault.call - 1 }))
  return [
    [`${name}, for a member`, program({ ...begin, faults }, ...turns)],
    [`${name}, for a stranger`, program({ ...begin, faults: earlier, member: false }, ...turns)]
  ]
}

const lost = (call: number, count = 1): Pick<Round, 'faults'> => ({ faults: [{ call, count, when: 'after' }] })
const unsent = (call: number, count = 1): Pick<Round, 'faults'> => ({ faults: [{ call, count, when: 'before' }] })

const answers: readonly Kept[] = [
  ...everybody('a stream that fails while the session is being saved', { yields: [2], answer: { kind: 'broken', status: 200 } }, ['set', 'a', 2]),
  ['a stream whose session cannot be saved is closed', program({ answer: { kind: 'stream', status: 200 }, ...unsent(1) }, ['set', 'a', 2])],
  ['a stream whose session is too large is closed', program({ app: 'limited', answer: { kind: 'stream', status: 200 } }, ['set', 'b', 1], ['set', 'c', 1])],
  ...everybody('a web Response that caches may keep', { answer: { kind: 'response', status: 200, cached: true } }, ['set', 'a', 2]),
  ['a web Response after a logout', program({ answer: { kind: 'response', status: 200, cached: true } }, ['destroy'])],
  ...everybody('text that caches may keep', { answer: { kind: 'text', status: 200, cached: true } }, ['set', 'a', 2]),
  ['a program that answers 503 itself after a logout', program({ answer: { kind: 'text', status: 503 } }, ['destroy'])],
  ['a program that answers 503 itself after a new secret', program({ answer: { kind: 'text', status: 503 } }, ['rotate'], ['save'])],
  ['a program that answers 503 itself after a login', program({ answer: { kind: 'text', status: 503 } }, ['regenerate', []], ['set', 'a', 2], ['save'])]
]

/** Each call of the store takes two turns of the event loop. */
const SLOW = { yields: [1] } as const

const begun: readonly Kept[] = [
  ...everybody('a login while a live write is under way', { ...SLOW, preHandler: [ignored(['live.incr', 'n', 1])] }, ['regenerate', ['b']], ['set', 'a', 2]),
  ...everybody('a login while a live write is under way that nobody ever looks at', { ...SLOW, preHandler: [forgotten(['live.incr', 'n', 1])] }, ['regenerate', ['b']], ['set', 'a', 2]),
  ...everybody('a login that fails while a live write is under way', { ...SLOW, preHandler: [ignored(['live.incr', 'n', 1])] }, ['regenerate', ['b']], ['set', 'a', 2], ['throw', 500]),
  ...everybody('save() and a login at the same time', SLOW, ['set', 'a', 2], later(['save']), ['regenerate', ['a']]),
  ['a new secret, then save() and a login at the same time, and it fails', program(SLOW, ['rotate'], later(['save']), ['regenerate', ['a']], ['throw', 500])],
  ...everybody('save() and a login in two branches', { ...SLOW, preHandler: [{ do: ['set', 'a', 2] }], handler: [[{ do: ['save'] }], [{ do: ['regenerate', ['a']] }]] }),
  ['a live read while a login begins', program(SLOW, later(['save']), later(['live.get', 'a']), ['regenerate', []], ['set', 'b', 1])],
  ['a live write under way, then an assignment', program(SLOW, later(['live.set', 'a', 5]), ['set', 'a', 6])],
  ['a live write that nobody looks at, then an assignment', program(SLOW, forgotten(['live.set', 'a', 5]), ['set', 'a', 6])],
  ['a live increment under way, then a removal', program(SLOW, later(['live.incr', 'n', 1]), ['delete', 'n'])],
  ['a live take under way, then an assignment', program(SLOW, later(['live.take', 'a']), ['set', 'a', 6])],
  ['clear() and save() under way, then clear()', program(SLOW, ['clear'], ['set', 'a', 2], later(['save']), ['clear'])],
  ['clear(), then two live writes', program(SLOW, ['clear'], later(['live.incr', 'n', 1]), later(['live.incr', 'n', 1]))],
  ['reload() under way, then an assignment', program(SLOW, later(['reload']), ['set', 'b', 2])],
  ['reload() under way drops what was assigned before', program(SLOW, ['set', 'b', 2], later(['reload']))],
  ['save() under way, a change, and the handler fails', program(SLOW, ['set', 'a', 2], later(['live.incr', 'n', 1]), forgotten(['save']), ['set', 'a', 3], ['throw', 500])],
  ['logout under way, then an assignment', program(SLOW, forgotten(['destroy']), ['set', 'b', 2])],
  ['logout under way, then a live write', program(SLOW, forgotten(['destroy']), forgotten(['live.set', 'b', 2]))],
  ['a live write of a stranger under way, then a logout', program({ ...SLOW, member: false }, forgotten(['live.set', 'b', 2]), ['destroy'])],
  ['a live write of a stranger under way, then a login without data', program({ ...SLOW, member: false }, forgotten(['live.set', 'b', 2]), ['regenerate', []])]
]

const dropped: readonly Kept[] = [
  ...everybody('null, then an assignment', {}, ['null'], ['set', 'b', 2]),
  ...everybody('null, then a live write', {}, ['null'], ['live.set', 'b', 2]),
  ['null, then a live read', program({}, ['null'], ['live.get', 'a'])],
  ['null, save(), then an assignment', program({}, ['null'], ['save'], ['set', 'b', 2])],
  ['null, then a live write, and the handler fails', program({}, ['null'], ['live.set', 'b', 2], ['throw', 500])],
  ['null for the one session of a user, then his login', program({ app: 'users' }, ['null'], ['set', 'user', 'ann'])],
  ['reload() drops the idle timeout', program({}, ['idle', 99], ['reload'])],
  ['reload() drops what remember() asked for', program({}, ['remember'], ['reload'], ['set', 'b', 2])],
  ['an array that was assigned after clear(), changed after a live write to another field', program({}, ['clear'], ['set', 'list', [1]], ['hold'], ['live.incr', 'n', 1], ['held', 9])],
  ['an array that was read, changed after a live write to another field', program({}, ['hold'], ['live.incr', 'n', 1], ['held', 9])],
  ['an array that was read, changed after save()', program({}, ['hold'], ['push', 'list', 1], ['save'], ['held', 9])],
  ['a thrown 403 is saved', program({}, ['set', 'a', 2], ['throw', 403])],
  ['a thrown 500 is not', program({}, ['set', 'a', 2], ['throw', 500])]
]

const late: readonly Kept[] = [
  ...everybody('an assignment right after the answer was sent', { sent: [['set', 'b', 2]] }, ['set', 'a', 2]),
  ...everybody('an assignment right after the answer was sent, with nothing to save', { sent: [['set', 'b', 2]] }),
  ...everybody('an assignment in a hook after the plugin\'s', { onSend: [['set', 'b', 2]] }),
  ...everybody('a login in a hook after the plugin\'s', { onSend: [['regenerate', []]] }),
  ...everybody('null in a hook after the plugin\'s', { onSend: [['null']] }),
  ...everybody('an assignment after the response', { onResponse: [['set', 'b', 2], ['delete', 'a'], ['clear'], ['null'], ['idle', 99]] })
]

const elsewhere: readonly Kept[] = [
  ['a logout after another tab changed the secret', program({}, ['tab', 'rotate'], ['destroy'])],
  ['a logout after another tab changed the secret, and a live read', program({}, ['tab', 'rotate'], ['live.get', 'a'], ['destroy'])],
  ['null after another tab changed the secret, and a live read', program({}, ['tab', 'rotate'], ['live.get', 'a'], ['null'])],
  ['regenerate() without data after another tab changed the secret', program({}, ['tab', 'rotate'], ['regenerate', []])],
  ['a logout where the session is off', program({ off: true }, ['destroy'])],
  ['null where the session is off', program({ off: true }, ['null'])],
  ['a live write that nobody waits for after another tab logged out', program({}, ['tab', 'destroy'], forgotten(['live.set', 'a', 2]))],
  ['a reload() that nobody waits for after another tab logged out', program({}, ['tab', 'destroy'], forgotten(['reload']))],
  ['a write after another tab logged out, and the handler throws 400', program({}, ['tab', 'destroy'], ['set', 'a', 2], ['throw', 400])]
]

/** Only where the store's clock can be put forward. */
export const KEPT_RENEWALS: readonly Kept[] = [
  ['reload() after the secret was renewed meanwhile', program({ app: 'renewing' }, ['tab', 'renew'], ['reload'], ['set', 'b', 2])],
  ['a write after the secret was renewed meanwhile', program({ app: 'renewing' }, ['tab', 'renew'], ['set', 'b', 2])],
  ['a live write after the secret was renewed meanwhile', program({ app: 'renewing' }, ['tab', 'renew'], ['live.incr', 'n', 1])]
]

const tooMuch: ReadonlyArray<Turn['do']> = [['set', 'b', 1], ['set', 'c', 1], ['set', 'd', 1]]
const limits: readonly Kept[] = [
  ['too many fields, and the program knows', program({ app: 'limited', answer: { kind: 'object', status: 413 } }, ...tooMuch, caught(['save']))],
  ['too many fields, and the program answers 200', program({ app: 'limited' }, ...tooMuch, caught(['save']))],
  ['a login with too many fields, and the program knows', program({ app: 'limited' }, ['regenerate', ['a', 'n', 'list']], ...tooMuch, caught(['save']))],
  ['a live write of one field too many, and the program knows', program({ app: 'limited' }, ['live.set', 'b', 1], caught(['live.set', 'c', 1]))],
  ['too many fields, and nobody knows', program({ app: 'limited' }, ...tooMuch)],
  ['too many fields, and the handler throws 400', program({ app: 'limited' }, ...tooMuch, ['throw', 400])]
]

const failures: readonly Kept[] = [
  ['rotate(), and the answer is lost', program(lost(1), ['rotate'])],
  ['rotate() with a change, and the answer is lost', program(lost(1), ['set', 'a', 2], ['rotate'])],
  ['elevate(), and the answer is lost', program(lost(1), ['elevate'])],
  ['elevate(), save(), and a later answer is lost', program(lost(2), ['elevate'], ['save'], ['live.incr', 'n', 1])],
  ['rotate(), the answer to save() is lost, and it is tried again', program(lost(1), ['rotate'], caught(['save']), ['save'])],
  ['a login, and the answer to its first step is lost', program(lost(1), ['regenerate', ['a']], ['set', 'b', 2])],
  ['a login, and the answer to its second step is lost', program(lost(2), ['regenerate', ['a']], ['set', 'b', 2])],
  ['a login that carries nothing over, and the answer to its first step is lost', program(lost(1), ['regenerate', []], ['set', 'b', 2])],
  ['a login that carries nothing over, and the answer to its second step is lost', program(lost(2), ['regenerate', []], ['set', 'b', 2])],
  ['a regenerate() without data, and the answer is lost', program(lost(1), ['regenerate', []])],
  ['null and a new session, and the answer to its second step is lost', program(lost(2), ['null'], ['set', 'b', 2])],
  ['a login that is saved, and a later write that is not sent', program(unsent(3), ['regenerate', []], ['set', 'b', 2], ['save'], ['live.incr', 'n', 1])],
  ['a login, and its second step is not sent', program(unsent(2), ['regenerate', ['a']], ['set', 'b', 2])],
  ['a login, the answer to its first step is lost, and it is tried again', program(lost(1), ['regenerate', ['a']], ['set', 'b', 2], caught(['save']), ['save'])],
  ['a login, the answer to its second step is lost, and it is tried again', program(lost(2), ['regenerate', ['a']], ['set', 'b', 2], caught(['save']), ['save'])],
  ...everybody('a login of a user, and the answer to making the record is lost', { app: 'users', ...lost(2) }, ['regenerate', []], ['set', 'user', 'ann']),
  ['a login of a user, and the record is not made', program({ app: 'users', ...unsent(2) }, ['regenerate', []], ['set', 'user', 'ann'])],
  ['a logout, and the answer is lost', program(lost(1), ['destroy'])],
  ['a logout that is not sent, and the program does not care', program(unsent(1), caught(['destroy']))],
  ['a logout that is never sent', program(unsent(1, 100), caught(['destroy']))],
  ['a logout that is not sent, then a live write', program(unsent(1), caught(['destroy']), ['live.set', 'b', 2])],
  ['a logout that is not sent, and the handler throws 400', program(unsent(1), caught(['destroy']), ['throw', 400])],
  ['a live write that fails, and nobody looks at it', program({ status: 503, ...unsent(1) }, forgotten(['live.incr', 'n', 1]))],
  ['a reload() that fails, and nobody looks at it', program({ status: 503, ...unsent(1) }, forgotten(['reload']))],
  ['a save() that fails, and nobody looks at it', program({ status: 200, ...unsent(1) }, ['set', 'a', 2], forgotten(['save']))],
  ['a value that is assigned again after the answer to another one was lost', program(lost(1), ['set', 'a', 2], caught(['save']), ['set', 'a', 1])],
  ['a value that is assigned again after the answer to a live write was lost', program(lost(1), caught(['live.set', 'a', 2]), ['set', 'a', 1])],
  ...everybody('the save fails after the handler threw 400', unsent(1, 100), ['set', 'a', 2], ['throw', 400]),
  ...everybody('the save fails behind a redirect', { ...unsent(1, 100), answer: { kind: 'text', status: 302 } }, ['set', 'a', 2]),
  ...everybody('the save fails behind a 404', { ...unsent(1, 100), answer: { kind: 'text', status: 404 } }, ['set', 'a', 2])
]

const cookies: readonly Kept[] = [
  ['a stranger\'s session begins and ends in one request', program({ member: false }, ['live.set', 'a', 2], ['regenerate', []], ['destroy'])],
  ['a stranger\'s session begins and is left in one request', program({ member: false }, ['live.set', 'a', 2], ['regenerate', []])],
  ['a stranger\'s session begins and ends by null in one request', program({ member: false }, ['live.set', 'a', 2], ['null'])],
  ['an elevation of the session that a login made', { app: 'users', member: true, rounds: [{ handler: [[]] }, { handler: [[{ do: ['regenerate', ['user']] }, { do: ['elevate'] }, { do: ['save'] }]] }] }]
]

/** By what they are about. */
export const KEPT: Readonly<Record<string, readonly Kept[]>> = {
  'every kind of answer': answers,
  'what is under way': begun,
  'what is dropped, and what is not': dropped,
  'changes that come too late': late,
  'another tab': elsewhere,
  limits,
  'a store that fails': failures,
  cookies
}
