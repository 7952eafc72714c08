/**
 * Routes that ask how recently the user was authenticated (OWASP ASVS 5.0, 7.5.1 and 7.5.3; NIST SP 800-63B, 5.2).
 */
import { AuthenticationTooOldError, LoginRequiredError, NotElevatedError } from '../errors.js'
import type { RouteSettings } from './route.js'

/** What a route's `config.session` may ask for. */
export type AuthenticationRule = Pick<RouteSettings, 'maxAuthAge' | 'elevated'>

/** When a session's user was authenticated, and until when it is elevated; milliseconds by the store's clock, as is `now`. */
export interface Authentication { now: number, authenticatedAt: number | undefined, elevatedUntil: number | undefined }

/** Whether a rule asks for anything. */
export function isDemanding (rule: AuthenticationRule | false | undefined): rule is AuthenticationRule {
  return typeof rule === 'object' && (rule.maxAuthAge !== undefined || rule.elevated === true)
}

/** The error with which a request is answered, or `undefined` where it may go on. */
export function refusalOf ({ maxAuthAge, elevated }: AuthenticationRule, { now, authenticatedAt, elevatedUntil }: Authentication): Error | undefined {
  if (authenticatedAt === undefined) return new LoginRequiredError()
  if (maxAuthAge !== undefined && now - authenticatedAt > maxAuthAge * 1000) return new AuthenticationTooOldError()
  if (elevated === true && !(elevatedUntil !== undefined && now < elevatedUntil)) return new NotElevatedError()
  return undefined
}
