/**
 * What to break in the plugin to prove that random programs notice it: in words, and by which kinds it has to show. Each
 * becomes a replacement of text, as in `mutations.test.ts`, with a seed that is fixed and the applications and stores that
 * it concerns.
 */
import type { Kind } from './program-kinds.js'

export interface Idea {
  readonly break: string
  /** Any of these is enough. */
  readonly shows: readonly Kind[]
}

export const IDEAS: readonly Idea[] = [
  // Which record an operation belongs to, and in which order.
  { break: 'a live operation that waits in the queue goes to the record that the session stands for when its turn comes', shows: ['cookie of no session', 'lost', 'wrong result', 'logged out'] },
  { break: 'save() stores what was changed between its call and its turn', shows: ['stored by a failure', 'lost'] },
  { break: 'the answer to a live write drops what was assigned to the field meanwhile', shows: ['lost', 'reads otherwise'] },
  { break: 'the answer to reload() drops what was changed after its call', shows: ['lost', 'reads otherwise'] },
  { break: 'reload() keeps unsaved changes of before its call, or the idle timeout', shows: ['lost', 'reads otherwise', 'wrong settings'] },
  { break: 'a clear() that a live write took along is executed once more', shows: ['wrong result', 'lost', 'reads otherwise'] },
  { break: 'clear() while an earlier clear() is being saved is taken for that one', shows: ['lost', 'reads otherwise'] },
  { break: 'a live write to one field takes other fields\' objects out of the session', shows: ['lost', 'reads otherwise'] },
  { break: 'null, or destroy(), begins the new session only when the old one has ended', shows: ['logged out', 'lost', 'reads otherwise'] },
  { break: 'the response is saved while operations are under way', shows: ['lost', 'not ended', 'cookie of no session'] },
  { break: 'a save that failed while another one waited lets that one succeed without its changes', shows: ['acknowledged and lost', 'stored by a failure', 'reads otherwise'] },
  // What fails half-way.
  { break: 'the offered secret is forgotten when the answer to its write is lost', shows: ['logged out', '409 without a reason'] },
  { break: 'a 503 takes back the cookie of a new secret that stays in force', shows: ['logged out'] },
  { break: 'the record that a login replaces ends before the new one is made', shows: ['logged out'] },
  { break: 'a second attempt takes the ending that the first one sent for somebody else\'s', shows: ['409 without a reason', 'logged out', 'lost'] },
  { break: 'a destroy() that failed is not tried again', shows: ['not ended'] },
  { break: 'a destroy() that failed twice is answered by the handler\'s status', shows: ['not ended'] },
  { break: 'a live write, or a reload(), that failed and that nobody waited for does not fail the response', shows: ['acknowledged and lost', 'another status'] },
  { break: 'the promise of an operation that nobody waits for is rejected without a handler', shows: ['unhandled rejection'] },
  { break: 'what was assigned after an unknown outcome is compared with what was stored before it', shows: ['acknowledged and lost'] },
  { break: 'of a save that asks for a new secret, a part of the data is written before the secret is', shows: ['half done'] },
  { break: 'an elevation takes effect before its new secret does', shows: ['elevated by the old cookie'] },
  { break: 'the entry of a login that failed stays in the user\'s list', shows: ['cannot be tried again'] },
  { break: 'the entry of a session stays in the user\'s list when the answer to its end is lost', shows: ['locked out by a logout'] },
  { break: 'the session that a login ends counts towards the user\'s limit', shows: ['another status', 'fails without a reason'] },
  // Limits.
  { break: 'the save at the end tries once more what a save() was refused for', shows: ['limit raised again'] },
  { break: 'a write that is refused stores the part that has room', shows: ['stored by a failure', 'lost'] },
  // The response.
  { break: 'the response\'s status is what the handler\'s error said, although the save failed after it', shows: ['failure under another status'] },
  { break: 'a web Response keeps its own Cache-Control', shows: ['cookie may be cached'] },
  { break: 'a web Response keeps its own Vary', shows: ['no Vary'] },
  { break: 'a 503 of the application takes the cookie along', shows: ['cookie on a 503'] },
  { break: 'a second Set-Cookie is put beside the first', shows: ['two cookies'] },
  { break: 'a destroy() after the cookie of a session was issued leaves it in the response', shows: ['cookie of no session'] },
  { break: 'destroy() does not clear the cookie', shows: ['cookie not cleared'] },
  { break: 'a token is signed in base64', shows: ['malformed token'] },
  { break: 'a 503 has no Retry-After', shows: ['no Retry-After'] },
  { break: 'nobody listens to the errors of a stream while the session is being saved', shows: ['uncaught exception'] },
  { break: 'a stream is left as it is when the save fails', shows: ['stream left open'] },
  { break: 'an error in the plugin\'s onSend hook never gets to Fastify', shows: ['no answer'] },
  // When, and for whom.
  { break: 'the session is sealed after the save, not before', shows: ['is not refused'] },
  { break: 'a session that nobody looked at is not sealed', shows: ['is not refused'] },
  { break: 'a sealed session throws also after the response', shows: ['throws after the response'] },
  { break: 'a handler that answers 500 is saved', shows: ['stored by a failure'] },
  { break: 'a handler that throws 403 is not saved', shows: ['lost'] },
  { break: 'destroy() works where the session is off', shows: ['succeeds in spite of all'] },
  // Other tabs.
  { break: 'a logout does not end a record whose secret another request changed', shows: ['old cookie lives', 'left over', 'not ended'] },
  { break: 'regenerate() carries on data of a session that another request ended', shows: ['succeeds in spite of all', 'another status'] },
  { break: 'reload() takes a secret that was renewed meanwhile for a stolen one', shows: ['409 without a reason', 'logged out'] },
  // Plain ones.
  { break: 'rotate() does nothing', shows: ['not rotated'] },
  { break: 'regenerate() leaves the old record', shows: ['old cookie lives', 'left over'] },
  { break: 'nested changes are not noticed', shows: ['lost', 'acknowledged and lost'] },
  { break: 'increments begin at 0', shows: ['wrong result', 'lost'] },
  { break: 'the time of authentication of a new record is carried over although the session was elevated (Redis)', shows: ['wrong settings'] },
  { break: 'a save throws SESSION_STORE_UNAVAILABLE out of the blue', shows: ['503 without a failure'] }
]
