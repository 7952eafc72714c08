/**
 * Every error this plugin throws, with its code and HTTP status.
 *
 * Messages say what to do. None of them ever holds a secret, a token or a value from a session: field names, option
 * names and limits are all they mention.
 */
import createError from '@fastify/error'

/** An option, a `SESSION_*` variable or a route's `config.session` is missing, malformed or contradicts another one. Thrown at boot. */
export const OptionError = createError<[string, string]>('SESSION_OPTION_INVALID', 'fastify-live-session: %s: %s', 500)

/**
 * The store did not answer in time, refused the command or is not connected. Nothing is known to have been stored.
 * Answered with `Retry-After`; the browser's cookie is left alone, so the session goes on when the store is back.
 */
export const StoreUnavailableError = createError<[string]>('SESSION_STORE_UNAVAILABLE',
  'The session store is not available (%s). Try again shortly.', 503)

/**
 * The session ended (logout, expiry, regeneration, a new secret) while this request was changing it. The change was
 * dropped: a session that ended never comes back.
 */
export const GoneError = createError('SESSION_GONE',
  'The session ended while this request was changing it; nothing was stored. Load the page again.', 409)

/** The key of this session holds something that is not a session record (another Redis type, for example). */
export const RecordError = createError<[string]>('SESSION_RECORD_INVALID',
  'The stored record of this session cannot be used: %s. It was left as it is for inspection.', 500)

/** JSON cannot carry the value (`undefined` in an array, NaN, a function, a symbol, a cycle, a BigInt, a Map, Headers, …). */
export const ValueError = createError<[string, string]>('SESSION_VALUE_INVALID',
  'Session field "%s" cannot be stored: %s.', 500)

/** The name is no string, or cannot be a data field: reserved, too long, or not well-formed Unicode. */
export const NameError = createError<[string, string]>('SESSION_NAME_INVALID',
  'Session field name "%s" cannot be used: %s.', 500)

/** The value does not fit the option `schema`. */
export const SchemaError = createError<[string, string]>('SESSION_SCHEMA_MISMATCH',
  'Session field "%s" does not fit the schema: %s.', 500)

/** The value is nested deeper than the option `maxDepth` allows. */
export const DepthError = createError<[string, number]>('SESSION_VALUE_TOO_DEEP',
  'Session field "%s" is nested deeper than maxDepth (%d).', 500)

/** One field, name and stored text together, is larger than the option `maxFieldSize` allows. */
export const FieldSizeError = createError<[string, number]>('SESSION_FIELD_TOO_LARGE',
  'Session field "%s" is larger than maxFieldSize (%d bytes). Keep big data in a database and its key in the session.', 500)

/** The record would hold more data fields than the option `maxFields` allows. */
export const FieldCountError = createError<[number]>('SESSION_TOO_MANY_FIELDS',
  'The session would hold more than maxFields (%d) fields; nothing was stored.', 500)

/** The record would be larger than the option `maxRecordSize` allows. */
export const RecordSizeError = createError<[number]>('SESSION_RECORD_TOO_LARGE',
  'The session would be larger than maxRecordSize (%d bytes); nothing was stored.', 500)

/** `incr` met a stored value that is not a number. The field is as it was. */
export const NotANumberError = createError<[string]>('SESSION_NOT_A_NUMBER',
  'Session field "%s" does not hold a number and was not incremented.', 500)

/** `incr` would leave the range in which numbers are exact (2^53-1), or the bounds that the schema sets. */
export const NumberRangeError = createError<[string]>('SESSION_NUMBER_RANGE',
  'Session field "%s" would leave the range of exact numbers (2^53-1) or of its schema and was not incremented.', 500)

/** `update(fn)`, an `incr` that goes as `update` does, or a save that changes whose the session is, lost the race against other writers on every attempt. Nothing was stored. */
export const ConflictError = createError<[string, number]>('SESSION_UPDATE_CONFLICT',
  'Session field "%s" was changed by others during all %d attempts to update it.', 409)

/** The user has `maxSessionsPerUser` sessions already, and `onLimit` is `refuse`. Nothing was stored. */
export const LimitError = createError<[number]>('SESSION_LIMIT_REACHED',
  'The user has %d sessions already. End one of them first.', 403)

/** The route asks for an authenticated user, and the session is nobody's. */
export const LoginRequiredError = createError('SESSION_LOGIN_REQUIRED', 'This needs a login.', 401)

/** The route's `maxAuthAge` has passed since the user was authenticated. */
export const AuthenticationTooOldError = createError('SESSION_AUTH_TOO_OLD',
  'This needs a login that is more recent. Authenticate again.', 401)

/** The route asks for an elevated session (`session.elevate()`), and this one is not, or not any more. */
export const NotElevatedError = createError('SESSION_NOT_ELEVATED', 'This needs the password once more.', 403)

/** `fastify.sessions` was asked about a user, but the option `userField` does not say which sessions are whose. */
export const NoUsersError = createError('SESSION_NO_USERS', 'Set the option userField: without it no session is a user\'s.', 500)

const EndedBase = createError<[string]>('SESSION_ENDED', 'The session ended: %s.', 401)

/** The reason with which `session.signal` aborts. It is thrown only by what the signal was passed on to. */
export class EndedError extends EndedBase {
  /** `destroyed`: logout or regeneration. `ended`: from outside. `expired`: by time. `reused`: a renewed secret was used again. */
  readonly reason: 'destroyed' | 'ended' | 'expired' | 'reused'

  constructor (reason: 'destroyed' | 'ended' | 'expired' | 'reused') {
    super(reason)
    this.reason = reason
  }
}

/** A property was assigned that belongs to the session object itself. */
export const ReservedPropertyError = createError<[string, string]>('SESSION_PROPERTY_RESERVED',
  'session.%s belongs to the session object. To store data under that name call session.set(\'%s\', value).', 500)

/** `request.session = …` with anything but `null`, which ends the session. */
export const AssignmentError = createError<[string]>('SESSION_NOT_ASSIGNABLE',
  'request.%s cannot be replaced. Assign its properties, or null to end the session.', 500)

/** A time given to `idleTimeout`, `remember()` or `elevate()` is no usable number of seconds. */
export const TimeoutError = createError<[string, string]>('SESSION_TIMEOUT_INVALID', 'session.%s: %s.', 500)

/** A change came after the response was sent, when nothing saves it any more. */
export const SealedError = createError('SESSION_SEALED',
  'The session is saved with the response, which is under way: this change would be lost. Change it earlier, or write with session.live.', 500)

/** A new cookie would be needed, but the response's headers are already sent. */
export const HeadersSentError = createError('SESSION_HEADERS_SENT',
  'The headers of this response are sent, so no cookie can be set: create, regenerate or rotate the session earlier.', 500)

/** `sessions.issue()` was given nothing to store: a session without data has no record, and so no cookie. */
export const NoDataError = createError('SESSION_NO_DATA',
  'A session without data has no record: give sessions.issue() at least one field.', 500)

/** The session was to be ended before the plugin's own `onRequest` hook loaded it. Reading gives `undefined` until then. */
export const TooEarlyError = createError<[string]>('SESSION_TOO_EARLY',
  'request.%s is not loaded yet: register the session plugin before the hooks that use it.', 500)

/** The route was registered with `{ session: false }` and writes to the session all the same. */
export const DisabledError = createError('SESSION_DISABLED',
  'This route has config.session = false: its session is empty and cannot be changed.', 500)

/**
 * The session was written to on a page outside the option `cookie.path`. Browsers do not send the cookie there, so the session
 * is empty, and a new one would take the place of the visitor's in the browser.
 */
export const OutsidePathError = createError<[string]>('SESSION_OUTSIDE_PATH',
  'This page is outside cookie.path (%s), where the session is empty and cannot be changed. Move the page below that path, or set cookie.path to one above both.', 500)

/**
 * A route with `onStoreError: 'anonymous'` was given an empty session, because the store did not answer, and changes it
 * or ends it all the same. Answered with `Retry-After`.
 */
export const DegradedError = createError('SESSION_DEGRADED',
  'The session store did not answer, so this session is empty and cannot be changed or ended. Check session.degraded first, or try again shortly.', 503)

/** Every class above is one of these at run time: `code` tells them apart. */
export type SessionError = InstanceType<typeof OptionError>
