/**
 * A reply whose session is being saved.
 *
 * Fastify takes an answer for sent when its last byte was handed over. Until then, a hook that sent one and returned
 * nothing lets the route's handler run as well, and a handler that sent one and returned nothing sends a second one:
 * harmless only while nothing in between is asynchronous, as saving is. Client plugins rely on that. A failed login in
 * @fastify/passport answers 401 in just this way, and the handler behind it must not run.
 * So while the session is being saved, the reply says that it is sent.
 */
import type { FastifyReply } from 'fastify'

type Settled = () => void

const HELD: PropertyDescriptorMap = {
  sent: { value: true, configurable: true },
  // Who awaits the reply waits for the end of the response, not for this in-between.
  then: { value: thenWhenEnded, configurable: true }
}

/** From now on the reply counts as sent. */
export function hold (reply: FastifyReply): void {
  Object.defineProperties(reply, HELD)
}

/** The reply is what it was before `hold`. */
export function release (reply: FastifyReply): void {
  delete (reply as { then?: unknown }).then
  delete (reply as { sent?: boolean }).sent
}

/** Whether Fastify will not send this reply, because the application writes it by hand. */
export function isHijacked (reply: FastifyReply): boolean {
  return reply.sent && !Object.hasOwn(reply, 'sent')
}

/** The method of Fastify, by which a reply can be awaited, for a reply that it takes for unsent. */
function thenWhenEnded (this: FastifyReply, fulfilled: Settled, rejected: Settled): void {
  const { raw, log } = this
  Object.getPrototypeOf(this).then.call({ sent: false, raw, log }, fulfilled, rejected)
}
