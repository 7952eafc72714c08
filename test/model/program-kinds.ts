/** In which ways a program may fail: by name, so that a failing run says which, and a mutation can be asked which it causes. */
import type { Outcome } from './program-model.js'
import type { Program, Step } from './programs.js'

export const KINDS = {
  // The process.
  'no answer': 'the request is never answered',
  'unhandled rejection': 'a promise of the plugin\'s was rejected that no program has to look at',
  'uncaught exception': 'an error came out that nobody could catch: the process would have ended',
  'stream left open': 'a stream that the handler answered with was not closed',
  // The response.
  'two cookies': 'a response sets, or clears, the session cookie more than once',
  'cookie on a 503': 'a 503 sets or clears the session cookie',
  'cookie may be cached': 'a response that sets or clears the session cookie has no Cache-Control: no-store',
  'no Vary': 'the handler looked at the session, and the response has no Vary: Cookie',
  'malformed token': 'a token is not id.secret.signature, 22.32.43 characters of base64url',
  'no Retry-After': 'a 503 for a store that fails has no Retry-After',
  // What the program is told.
  'wrong result': 'a step comes to another result than its place in the program says',
  'fails without a reason': 'a step fails that nothing speaks against',
  'succeeds in spite of all': 'a step succeeds that should be refused',
  'reads otherwise': 'the session reads as something else than what the program made of it',
  'is not refused': 'a change after the save is not refused, although it will be lost',
  'throws after the response': 'a change after the response throws where nobody is left to be told',
  // The status.
  '409 without a reason': 'a request fails, or a step does, for a session that nobody else ended',
  '503 without a failure': 'a request fails, or a step does, for a store that did not fail',
  'failure under another status': 'the session could not be saved, and the response says so under the status that the handler wanted',
  'limit raised again': 'the response fails for a limit that the program was told of before',
  'another status': 'the response has another status than the program wanted',
  // What is there afterwards.
  'cookie of no session': 'a response sets a token that opens nothing',
  'logged out': 'the session is gone, although nobody ended it',
  lost: 'what a response below 500 said is not what is stored',
  'acknowledged and lost': 'the same, after the store failed on the way',
  'stored by a failure': 'after a response of 500 and above something else is stored than what the program stored by itself',
  'half done': 'after a 503 the old cookie shows neither the session as it was, nor that with plain changes',
  'elevated by the old cookie': 'a cookie that was not elevated is, without a new secret',
  'wrong settings': 'idle timeout, elevation or time of authentication are not what the program made of them',
  'not ended': 'a session lives that the program ended',
  'cookie not cleared': 'a session ended, and the browser was not told to drop its cookie',
  'not rotated': 'the session should have a new secret, and has the old one',
  'old cookie lives': 'a token that was replaced opens something',
  'left over': 'a record is stored that no cookie opens',
  'cannot be tried again': 'a login after one that failed half-way fails',
  'locked out by a logout': 'a login after a logout that was answered 503 fails'
} as const

export type Kind = keyof typeof KINDS

/** What went wrong in one program, in the order in which it was found. */
export class Kinds {
  readonly #found = new Map<Kind, string>()

  /** @param detail what distinguishes this case; the first one of each kind is kept */
  add (kind: Kind, detail: () => string): void {
    if (!this.#found.has(kind)) this.#found.set(kind, detail())
  }

  /** Notes that a step came to something else than it should have. */
  addOutcome (step: Step, actual: Outcome, should: Outcome): void {
    this.add(kindOf(actual, should), () => `${JSON.stringify(step)} came to ${JSON.stringify(actual)} instead of ${JSON.stringify(should)}`)
  }

  get found (): ReadonlyMap<Kind, string> {
    return this.#found
  }
}

function kindOf ({ code }: Outcome, should: Outcome): Kind {
  if (code === undefined) return should.code === undefined ? 'wrong result' : 'succeeds in spite of all'
  if (code === 'SESSION_GONE') return '409 without a reason'
  return code === 'SESSION_STORE_UNAVAILABLE' ? '503 without a failure' : 'fails without a reason'
}

/** A program that failed. */
export class ProgramFailed extends Error {
  readonly kinds: readonly Kind[]

  constructor (program: Program, found: ReadonlyMap<Kind, string>) {
    super(`${[...found].map(([kind, detail]) => `${kind}: ${KINDS[kind]}. ${detail}`).join('\n')}\n${JSON.stringify(program)}`)
    this.kinds = [...found.keys()]
  }
}
