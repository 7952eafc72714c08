/**
 * The demo's page: HTML rendered on the server, one inline style and one inline script. Both are constants, so the
 * Content-Security-Policy names their hashes and allows nothing else: no other code, no other host.
 *
 * What comes out of a session is text somebody typed. On the server it passes `escapeHtml`; the script only ever sets
 * `textContent`.
 */
import { createHash } from 'node:crypto'
import type { Viewed } from './answers.js'
import type { DeviceView } from './device-routes.js'
import { FIELDS } from './options.js'
import { redisCliOutput } from './redis-cli.js'
import { SCRIPT } from './page-script.js'
import { STYLE } from './page-style.js'

/** What the page shows when it arrives. */
export interface PageData {
  /** The visitor's session with the others of the same name, where there is one. */
  session: Viewed & { devices: DeviceView[] } | undefined
  /** Whether the store is this process's memory. */
  inMemory: boolean
  /** Proposed in the start form, seconds. */
  formTtl: number
  /** Longest name. */
  maxUsername: number
  /** Longest idle timeout, seconds. */
  maxTtl: number
}

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** Allows the page's own script and style by their hashes, its own server for fetch, and nothing else. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(SCRIPT)}`,
  `style-src ${hashOf(STYLE)}`,
  "connect-src 'self'",
  'img-src data:',
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'"
].join('; ')

/**
 * Makes text safe between tags and in quoted attributes.
 *
 * @param text anything
 */
export function escapeHtml (text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}

/** Anything as HTML text; what is absent is empty. */
const text = (value: string | number | undefined): string => escapeHtml(String(value ?? ''))

/** A time in text; the script puts it into the visitor's own words. */
const time = (iso: string | undefined, id?: string): string => `<time${id === undefined ? '' : ` id="${id}"`} datetime="${text(iso)}">${text(iso)}</time>`

/** A button that is a form of its own, so that it works without the script, too. */
const formButton = (action: string, label: string, style = ''): string => `<form method="post" action="${action}"><button ${style}>${label}</button></form>`

const HEAD = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fastify-live-session: demo</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>`

/**
 * Renders a page of one sentence, for browsers that sent a form without a script.
 *
 * @param sentence what went wrong
 * @returns a whole HTML document
 */
export function renderNotice (sentence: string): string {
  return `${HEAD}
<main>
<h1>That did not work</h1>
<p class="lead">${text(sentence)}</p>
<p class="lead"><a href="/">Back to the demo</a></p>
</main>
</body>
</html>
`
}

/**
 * Renders the page. What stands there is true when it arrives; from then on the script keeps it so. What only the script
 * can do is hidden until it runs, and marked `data-live`.
 *
 * @param data the visitor's session, if any, and the form's defaults
 * @returns a whole HTML document
 */
export function renderPage ({ session, inMemory, formTtl, maxUsername, maxTtl }: PageData): string {
  const { view, record, devices = [] } = session ?? {}
  const signedIn = view === undefined ? 'hidden' : ''
  const signedOut = view === undefined ? '' : 'hidden'

  return `${HEAD}
<header>
<h1>A session, live</h1>
<p class="lead">The server keeps one record for you; your browser keeps a cookie that opens it. Use the session and it goes on. Leave it alone and it ends.</p>
<noscript><p class="lead">Without JavaScript this page shows how things stood when it was loaded. With it the page is live, and can send ${FIELDS} writes at once.</p></noscript>
</header>
<main data-fields="${FIELDS}" data-session="${text(JSON.stringify(view ?? null))}" data-ttl="${text(record?.ttl)}">

<div id="out" class="columns" ${signedOut}>
<section aria-labelledby="out-title">
<h2 id="out-title" tabindex="-1">Start a session</h2>
<p id="why" class="result" hidden></p>
<form method="post" action="/login">
<div class="field"><label for="username">Your name</label>
<input id="username" name="username" maxlength="${maxUsername}" autocomplete="nickname" placeholder="Guest"></div>
<div class="field"><label for="ttl">Idle timeout (seconds)</label>
<input id="ttl" name="ttl" aria-describedby="ttl-hint" type="number" inputmode="numeric" min="1" max="${maxTtl}" step="1" value="${formTtl}" required>
<p id="ttl-hint" class="note">The session ends when nobody uses it for this long.</p></div>
<button>Start session</button>
</form>
</section>

<section aria-labelledby="try-title">
<h2 id="try-title">What to try</h2>
<ol>
<li>Start with a short time and watch it run out: the record is gone and the page notices.</li>
<li>Start again and count page views: each one sets the countdown back.</li>
<li>Rotate: the cookie gets a new secret, and the session stays the same.</li>
<li>Send ${FIELDS} writes at once, each to a field of its own, and count what arrived.</li>
<li>Log in from a second browser or a private window under the same name, and sign it out from here.</li>
</ol>
</section>
</div>

<div id="in" class="columns" ${signedIn}>
<div class="column">
<section aria-labelledby="in-title">
<h2 id="in-title" tabindex="-1">Current session</h2>
<div id="countdown">
<p class="left"><span>Time left if unused</span> <strong id="left">${text(view?.ttl)} s</strong></p>
<!-- Hidden from screen readers, some of which beep at each step; the text above says the same. -->
<progress id="bar" aria-hidden="true" max="${text((view?.configured_ttl ?? 1) * 1000)}" value="${text(record?.ttl ?? 0)}"></progress>
</div>
<dl>
<dt>Id</dt><dd id="id" class="mono">${text(view?.session_id)}</dd>
<dt>User</dt><dd id="user">${text(view?.session['username'])}</dd>
<dt>Page views</dt><dd id="views">${text(view?.session['page_views'])}</dd>
<dt>Idle timeout</dt><dd id="configured">${text(view?.configured_ttl)} s</dd>
<dt>Created</dt><dd>${time(view?.session['created_at'], 'created')}</dd>
<dt>Last accessed</dt><dd>${time(view?.session['last_accessed_at'], 'accessed')}</dd>
</dl>
<div class="buttons">
${formButton('/increment', 'Count a page view')}
${formButton('/rotate', 'Rotate', 'class="plain"')}
${formButton('/logout', 'Log out', 'class="plain"')}
</div>
<div id="rotated" class="result" hidden>
<p>The id is still <code id="rotated-id"></code></p>
<p>Hash of the cookie's secret: <code id="before"></code>… before, <code id="after"></code>… now. The old cookie is dead.</p>
</div>
<form id="change" method="post" action="/ttl">
<label for="new-ttl">New idle timeout (seconds)</label>
<div class="inline"><input id="new-ttl" name="ttl" type="number" inputmode="numeric" min="1" max="${maxTtl}" step="1" value="${text(view?.configured_ttl)}" required>
<button class="plain">Apply</button></div>
</form>
</section>

<section aria-labelledby="devices-title">
<h2 id="devices-title" tabindex="-1">Your devices</h2>
<p>Every session under this name; the demo asks for nothing else. Log in from a second browser or a private window, and each page shows both.</p>
<ul id="devices" aria-labelledby="devices-title">${devices.map(device => deviceRow(device)).join('')}</ul>
<div id="others" ${devices.length < 2 ? 'hidden' : ''}>${formButton('/devices/end-others', 'Sign out everywhere else', 'class="plain"')}</div>
</section>
</div>

<div class="column">
<section aria-labelledby="parallel-title" data-live hidden>
<h2 id="parallel-title">${FIELDS} writes at once</h2>
<p>Each request loads the session, waits a moment and writes one field. Where a session is stored as one blob, the last request overwrites the others.</p>
<button id="parallel" type="button">Send ${FIELDS} requests</button>
<ol id="cells" class="cells" aria-label="Fields">
${Array.from({ length: FIELDS }, (_, index) => cell(String(index + 1).padStart(2, '0'))).join('\n')}
</ol>
<p id="parallel-result" class="result">Nothing sent yet.</p>
</section>

<section aria-labelledby="record-title">
<h2 id="record-title">The record as stored</h2>
<pre id="record" tabindex="0" role="region" aria-label="What redis-cli prints">${text(record && redisCliOutput(record))}</pre>
${inMemory ? '<p class="note">This server keeps the record in its own memory, laid out as in Redis. Start it with --redis to see the same in redis-cli.</p>' : ''}
<button id="reread" type="button" class="plain" data-live hidden>Read again</button>
</section>
</div>
</div>

<template id="device">${deviceRow()}</template>

<p id="status" role="status"></p>
</main>
<script>${SCRIPT}</script>
</body>
</html>
`
}

/** One row of the list of devices; without a device, the mould from which the script makes rows. */
function deviceRow (device?: DeviceView): string {
  const { id, device: label, network, last_accessed_at: seen, current } = device ?? {}
  const badge = '<span class="badge">This browser</span>'
  const end = `<form method="post" action="/devices/end"><input type="hidden" name="id" value="${text(id)}"><button class="plain" aria-label="Sign out ${text(label)}">Sign out</button></form>`
  return `<li data-id="${text(id)}">
<p><strong>${text(label)}</strong> ${current === false ? '' : badge}<br><span class="note">Last seen ${time(seen)}, network <span class="network">${text(network)}</span></span></p>
${current === true ? '' : end}
</li>`
}

function cell (number: string): string {
  return `<li data-number="${number}">${number}</li>`
}
