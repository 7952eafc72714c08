/** What a browser gets that sends the page's forms without a script: a page instead of JSON. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { member } from './forms.js'
import { renderNotice } from './page.js'

/** Answers in pages whoever asks for pages: after a form the demo's own page, with an error one that says so. */
export function answerInPages (app: FastifyInstance): void {
  app.addHook('preSerialization', async (request, reply, payload) => {
    if (!asksForPage(request)) return payload
    const error = member(payload, 'error')
    if (typeof error !== 'string' && request.method !== 'POST') return payload
    reply.type('text/html; charset=utf-8').serializer(String)
    if (typeof error === 'string') return renderNotice(error)
    // See Other: the browser gets the page, and loading that again does not send the form again (RFC 9110, 15.4.4).
    reply.code(303).header('location', '/')
    return ''
  })
}

/** Browsers name HTML when they go to a page. The page's script asks for JSON, curl for anything. */
function asksForPage ({ headers }: FastifyRequest): boolean {
  return /\btext\/html\b/i.test(headers.accept ?? '')
}
