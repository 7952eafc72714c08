/**
 * The demo's page: HTML rendered on the server, one inline style and one inline script. Both are constants, so the
 * Content-Security-Policy names their hashes and allows nothing else: no other code, no other host.
 *
 * What comes out of a session is text somebody typed. On the server it passes `escapeHtml`; the script only ever sets
 * `textContent`.
 */
import { createHash } from 'node:crypto'
import type { SessionView } from './server.js'

/** What the page shows when it arrives. */
export interface PageData {
  /** The visitor's session, where there is one. */
  view?: SessionView
  /** Its time left, milliseconds. */
  ttlMs?: number
  /** Proposed in the start form, seconds. */
  formTtl: number
  /** Longest name. */
  maxUsername: number
  /** Longest idle timeout, seconds. */
  maxTtl: number
}

/** How many fields the parallel writes go to. */
const FIELDS = 20

const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f4f5f3; --panel: #ffffff; --ink: #1b211f; --muted: #55605c; --line: #d8ddda; --edge: #78847f;
  --accent: #0b6b5d; --accent-over: #08564b; --on-accent: #ffffff;
  --low: #a8341f; --soft: #e6f0ed; --code: #f0f2f0; --status: #1b211f; --on-status: #ffffff;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131716; --panel: #1c2221; --ink: #e7ecea; --muted: #a4b0ab; --line: #343d3a; --edge: #7d8a85;
    --accent: #5cc8b3; --accent-over: #84dac9; --on-accent: #06211c;
    --low: #ff9b85; --soft: #21332f; --code: #151a19; --status: #e7ecea; --on-status: #131716;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif;
}
header, main { max-width: 68rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 0 0 .75rem; font-size: 1.1rem; }
h2:focus { outline: none; }
p { margin: 0 0 .75rem; }
.lead { max-width: 42rem; margin: .5rem 0 0; color: var(--muted); }
.note { color: var(--muted); font-size: .9rem; }
main { display: grid; gap: 1rem; padding-top: 1.5rem; padding-bottom: 6rem; grid-template-columns: minmax(0, 1fr); align-items: start; }
.column { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); }
section { padding: 1.25rem; background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; }
label { display: block; margin-bottom: .25rem; font-weight: 600; }
input {
  width: 100%; min-height: 2.75rem; padding: .4rem .7rem; font: inherit; color: inherit;
  background: var(--panel); border: 1px solid var(--edge); border-radius: .35rem;
}
::placeholder { color: var(--muted); opacity: 1; }
button {
  min-height: 2.75rem; padding: .4rem 1rem; font: inherit; font-weight: 600; cursor: pointer;
  color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent); border-radius: .35rem;
}
button:hover { background: var(--accent-over); border-color: var(--accent-over); }
button.plain { color: var(--ink); background: var(--panel); border-color: var(--edge); }
button.plain:hover { background: var(--soft); }
button[aria-disabled=true] { opacity: .6; cursor: progress; }
:is(input, button, pre):focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.field { margin-bottom: 1rem; }
.inline { display: flex; gap: .5rem; align-items: end; margin: 1.25rem 0 0; }
.inline div { flex: 1; min-width: 0; }
.buttons { display: flex; flex-wrap: wrap; gap: .5rem; margin-top: 1.25rem; }
.left { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 0 .75rem; margin: 0 0 .35rem; }
.left strong { font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.low strong { color: var(--low); }
progress { -webkit-appearance: none; appearance: none; display: block; width: 100%; height: .6rem; border: 0; border-radius: .3rem; overflow: hidden; background: var(--line); color: var(--accent); }
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--accent); }
progress::-moz-progress-bar { background: var(--accent); }
.low progress::-webkit-progress-value { background: var(--low); }
.low progress::-moz-progress-bar { background: var(--low); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .35rem 1rem; margin: 1.25rem 0 0; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
code, pre, .mono { font-family: var(--mono); font-size: .875rem; }
code { overflow-wrap: anywhere; }
pre { margin: 0 0 .75rem; padding: .75rem; max-height: 26rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--code); border: 1px solid var(--line); border-radius: .35rem; }
.result { margin: 1rem 0 0; padding: .75rem; background: var(--soft); border-radius: .35rem; font-size: .9rem; }
#why { margin: 0 0 1rem; }
.result p { margin: 0; }
.result p + p { margin-top: .25rem; }
ol { margin: 0; padding-left: 1.25rem; }
li + li { margin-top: .5rem; }
.cells { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: .35rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.cells li { margin: 0; padding: .3rem 0; text-align: center; border: 1px dashed var(--edge); border-radius: .35rem; font-size: .875rem; font-variant-numeric: tabular-nums; }
.cells li.sent { border-style: solid; }
.cells li.kept { border: 1px solid var(--accent); background: var(--soft); }
.cells li.lost { border: 2px solid var(--low); color: var(--low); }
#status {
  position: fixed; z-index: 1; left: 50%; bottom: 1rem; transform: translateX(-50%); width: max-content; max-width: calc(100% - 2rem);
  margin: 0; padding: .6rem 1rem; border-radius: .35rem; background: var(--status); color: var(--on-status); overflow-wrap: anywhere;
  pointer-events: none;
}
#status:empty { padding: 0; }
@media (min-width: 56rem) {
  main { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  #in { position: sticky; top: 1rem; }
}
@media (max-width: 24rem) {
  section { padding: 1rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .5rem; }
  .buttons button { flex: 1 1 100%; }
}
@media (prefers-reduced-motion: no-preference) {
  button { transition: background-color .12s, border-color .12s; }
}
`

// No backquotes and no ${…} below: the script is one template of this file. No innerHTML either, ever.
const SCRIPT = String.raw`
'use strict'
;(function () {
  const byId = function (id) { return document.getElementById(id) }
  const main = document.querySelector('main')
  const FIELDS = Number(main.dataset.fields)
  const calm = matchMedia('(prefers-reduced-motion: reduce)')

  let shown = null       // the session on the page, as the server last described it
  let deadline = 0       // when it ends unless used, by performance.now()
  let timer = 0
  let saying = 0
  let asked = 0          // requests so far: of two answers the one that was asked for later counts
  let applied = 0

  // --- Requests ---------------------------------------------------------------------------------------------------

  async function ask (method, path, form) {
    const number = ++asked
    let response, body
    try {
      response = await fetch(path, { method: method, body: form && new URLSearchParams(form), headers: { accept: 'application/json' } })
      body = await response.json()
    } catch (error) {
      return { ok: false, status: 0, number: number, body: { error: 'The server does not answer.' } }
    }
    return { ok: response.ok, status: response.status, number: number, body: body, ms: Number(response.headers.get('x-session-ttl-ms')) }
  }

  /** Shows what an answer says about the session. Returns whether the request succeeded. */
  function apply (answer) {
    if (answer.status === 401) {
      end(answer.body.error)
    } else if (!answer.ok) {
      say(answer.body.error)
      if (answer.status === 409) look()
    } else if (answer.number > applied && 'authenticated' in answer.body) {
      applied = answer.number
      if (answer.body.authenticated) show(answer.body, answer.ms)
      else if (shown) end('The session ended.')
    }
    return answer.ok
  }

  /** Asks how the session stands, which does not keep it alive. */
  async function look () {
    apply(await ask('GET', '/session'))
    if (shown) await readRecord()
  }

  // --- The session ------------------------------------------------------------------------------------------------

  function show (view, ms) {
    const another = !shown || shown.session_id !== view.session_id
    shown = view
    deadline = performance.now() + ms
    byId('id').textContent = view.session_id
    byId('user').textContent = view.session.username
    byId('views').textContent = view.session.page_views
    byId('configured').textContent = seconds(view.configured_ttl)
    showTime('created', view.session.created_at)
    showTime('accessed', view.session.last_accessed_at)
    byId('bar').max = view.configured_ttl * 1000
    if (another) {
      byId('new-ttl').value = view.configured_ttl
      byId('rotated').hidden = true
      clearCells()
    }
    toggle(true)
    schedule()
  }

  /** Goes back to the start form, and says why. */
  function end (why) {
    clearTimeout(timer)
    // Nobody's focus may vanish together with the panel that held it.
    const lostFocus = byId('in').contains(document.activeElement) || byId('in-more').contains(document.activeElement)
    shown = null
    toggle(false)
    byId('record').textContent = ''
    if (lostFocus) byId('out-title').focus()
    // Announced by the status line, which goes away; still there for who looks later.
    byId('why').textContent = why
    byId('why').hidden = false
    say(why)
  }

  function toggle (signedIn) {
    for (const id of ['in', 'in-more']) byId(id).hidden = !signedIn
    for (const id of ['out', 'out-more']) byId(id).hidden = signedIn
  }

  // --- The countdown ----------------------------------------------------------------------------------------------

  function schedule () {
    clearTimeout(timer)
    const left = deadline - performance.now()
    drawLeft(Math.max(0, left))
    if (left <= 0) confirmEnd()
    else timer = setTimeout(schedule, Math.min(left, calm.matches || left > 60000 ? 1000 : 100))
  }

  function drawLeft (left) {
    byId('left').textContent = left < 10000 && !calm.matches ? (left / 1000).toFixed(1) + ' s' : seconds(Math.ceil(left / 1000))
    byId('bar').value = left
    byId('countdown').classList.toggle('low', left < byId('bar').max / 5)
  }

  /** The store decides what has expired. Another tab may have used the session, so it is asked before the page says so. */
  async function confirmEnd () {
    const ttl = shown.configured_ttl
    const answer = await ask('GET', '/session')
    if (!answer.ok || answer.body.authenticated) {
      apply(answer)
      // The last milliseconds, or a server that is away: ask again, without haste.
      if (shown && deadline <= performance.now()) timer = setTimeout(schedule, 1000)
    } else if (shown && answer.number > applied) {
      end('The session expired: it was not used for ' + seconds(ttl) + '.')
    }
  }

  // --- Parallel writes --------------------------------------------------------------------------------------------

  function clearCells () {
    byId('parallel-result').textContent = 'Nothing sent yet.'
    for (const cell of byId('cells').children) mark(cell, '', '')
  }

  function mark (cell, state, sign) {
    cell.className = state
    cell.textContent = cell.dataset.number + (sign && ' ' + sign)
  }

  async function writeInParallel () {
    const run = Math.random().toString(36).slice(2, 6)
    const cells = Array.from(byId('cells').children)
    const values = new Map(cells.map(function (cell) { return ['field' + cell.dataset.number, run + '-' + cell.dataset.number] }))
    byId('parallel-result').textContent = 'Sending…'
    for (const cell of cells) mark(cell, '', '')
    const answers = await Promise.all(cells.map(async function (cell) {
      const name = 'field' + cell.dataset.number
      const answer = await ask('POST', '/field', { name: name, value: values.get(name) })
      if (answer.ok) mark(cell, 'sent', '…')
      return answer
    }))
    const failed = answers.find(function (answer) { return !answer.ok })
    if (failed) {
      clearCells()
      apply(failed)
      return
    }
    const record = await readRecord()
    if (!record) return
    let kept = 0
    for (const cell of cells) {
      const name = 'field' + cell.dataset.number
      const isKept = record.fields[name] === values.get(name)
      if (isKept) kept++
      mark(cell, isKept ? 'kept' : 'lost', isKept ? '✓' : '✗ lost')
    }
    const result = kept + ' of ' + FIELDS + ' fields are in the record' + (kept === FIELDS ? ': none was lost.' : '.')
    byId('parallel-result').textContent = result
    apply(await ask('GET', '/session'))
    say(result)
  }

  // --- The record -------------------------------------------------------------------------------------------------

  async function readRecord () {
    const answer = await ask('GET', '/record')
    if (!answer.ok) {
      apply(answer)
      return null
    }
    const record = answer.body
    byId('record').textContent = [
      '$ redis-cli HGETALL ' + record.key, listing(record.fields),
      '$ redis-cli PTTL ' + record.key, '(integer) ' + record.ttl_ms
    ].join('\n')
    byId('memory-note').hidden = record.store !== 'memory'
    return record
  }

  /** Names and texts numbered, as redis-cli prints them on a terminal. */
  function listing (fields) {
    const texts = Object.entries(fields).flat()
    const width = String(texts.length).length
    return texts.map(function (text, index) { return String(index + 1).padStart(width) + ') ' + quoted(text) }).join('\n')
  }

  /** redis-cli quotes bytes, not characters: whatever is not printable ASCII becomes an escape. */
  function quoted (text) {
    const named = { 7: '\\a', 8: '\\b', 9: '\\t', 10: '\\n', 13: '\\r', 34: '\\"', 92: '\\\\' }
    return '"' + Array.from(new TextEncoder().encode(text), function (byte) {
      if (named[byte]) return named[byte]
      return byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '\\x' + byte.toString(16).padStart(2, '0')
    }).join('') + '"'
  }

  // --- Words ------------------------------------------------------------------------------------------------------

  /** The line lies over the page, so it does not stay for good. */
  function say (text) {
    clearTimeout(saying)
    byId('status').textContent = text
    saying = setTimeout(function () { byId('status').textContent = '' }, 6000)
  }

  function seconds (count) {
    if (count < 100) return count + ' s'
    const parts = [[Math.floor(count / 86400), ' d'], [Math.floor(count / 3600) % 24, ' h'], [Math.floor(count / 60) % 60, ' min'], [count % 60, ' s']]
    return parts.filter(function (part) { return part[0] > 0 }).map(function (part) { return part.join('') }).join(' ')
  }

  function showTime (id, iso) {
    const date = new Date(iso)
    byId(id).dateTime = iso
    byId(id).textContent = Number.isNaN(date.getTime()) ? iso : date.toLocaleString()
  }

  // --- What people can do -----------------------------------------------------------------------------------------

  /** One action of one control at a time. The control is not disabled, because that would take its focus away. */
  function once (control, action) {
    return async function (event) {
      event.preventDefault()
      if (control.getAttribute('aria-disabled') === 'true') return
      control.setAttribute('aria-disabled', 'true')
      try {
        await action()
      } finally {
        control.removeAttribute('aria-disabled')
      }
    }
  }

  function onClick (id, action) {
    byId(id).addEventListener('click', once(byId(id), action))
  }

  function onSubmit (id, action) {
    byId(id).addEventListener('submit', once(byId(id).querySelector('button'), action))
  }

  async function change (path, form, done) {
    const answer = await ask('POST', path, form)
    if (!apply(answer)) return
    await readRecord()
    say(done(answer.body))
  }

  onSubmit('start', async function () {
    const answer = await ask('POST', '/login', { username: byId('username').value, ttl: byId('ttl').value })
    if (!apply(answer)) return
    byId('in-title').focus()
    await readRecord()
    say('Session started. Unused, it ends in ' + seconds(answer.body.configured_ttl) + '.')
  })

  onSubmit('change', function () {
    return change('/ttl', { ttl: byId('new-ttl').value }, function (body) {
      return 'The session now ends when it is not used for ' + seconds(body.configured_ttl) + '.'
    })
  })

  onClick('increment', function () {
    return change('/increment', null, function (body) { return 'Page views: ' + body.page_views + '. The countdown starts over.' })
  })

  onClick('rotate', function () {
    return change('/rotate', null, function (body) {
      byId('rotated-id').textContent = body.session_id
      byId('before').textContent = body.fingerprint.before
      byId('after').textContent = body.fingerprint.after
      byId('rotated').hidden = false
      return 'New secret in the cookie; the session is the same.'
    })
  })

  onClick('parallel', writeInParallel)

  onClick('reread', async function () {
    if (await readRecord()) say('Record read. Looking does not keep the session alive.')
  })

  onClick('logout', async function () {
    const answer = await ask('POST', '/logout')
    if (!answer.ok) say(answer.body.error)
    else end('Logged out. The record is deleted.')
  })

  document.addEventListener('visibilitychange', function () {
    if (!document.hidden) look()
  })

  // The server has rendered the session already; what only a script can do starts here.
  const initial = JSON.parse(main.dataset.session)
  if (initial) {
    show(initial, Number(main.dataset.ttl))
    readRecord()
  }
})()
`

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

/**
 * Renders the page.
 *
 * @param data the visitor's session, if any, and the form's defaults
 * @returns a whole HTML document
 */
export function renderPage ({ view, ttlMs, formTtl, maxUsername, maxTtl }: PageData): string {
  const signedIn = view === undefined ? 'hidden' : ''
  const signedOut = view === undefined ? '' : 'hidden'
  const time = (id: string, name: string): string => {
    const iso = escapeHtml(view?.session[name] ?? '')
    return `<time id="${id}" datetime="${iso}">${iso}</time>`
  }
  const text = (value: string | number | undefined): string => escapeHtml(String(value ?? ''))

  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fastify-live-session: demo</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>A session, live</h1>
<p class="lead">The server keeps one record for you; your browser keeps a cookie that opens it. Use the session and it goes on. Leave it alone and it ends.</p>
<noscript><p class="lead"><strong>The buttons of this page need JavaScript.</strong> It shows your session without, too.</p></noscript>
</header>
<main data-fields="${FIELDS}" data-session="${text(JSON.stringify(view ?? null))}" data-ttl="${text(ttlMs)}">

<section id="out" aria-labelledby="out-title" ${signedOut}>
<h2 id="out-title" tabindex="-1">Start a session</h2>
<p id="why" class="result" hidden></p>
<form id="start" method="post" action="/login">
<div class="field"><label for="username">Your name</label>
<input id="username" name="username" maxlength="${maxUsername}" autocomplete="nickname" placeholder="Guest"></div>
<div class="field"><label for="ttl">Ends when unused for (seconds)</label>
<input id="ttl" name="ttl" type="number" inputmode="numeric" min="1" max="${maxTtl}" step="1" value="${formTtl}" required></div>
<button>Start session</button>
</form>
</section>

<section id="out-more" aria-labelledby="try-title" ${signedOut}>
<h2 id="try-title">What to try</h2>
<ol>
<li>Start with a short time and watch it run out: the record is gone and the page notices.</li>
<li>Start again and count page views: each one sets the countdown back.</li>
<li>Rotate: the cookie gets a new secret, and the session stays the same.</li>
<li>Send 20 writes at once, each to a field of its own, and count what arrived.</li>
<li>Open the page in a second tab: both show one session. Log out in one, then use the other.</li>
</ol>
</section>

<section id="in" aria-labelledby="in-title" ${signedIn}>
<h2 id="in-title" tabindex="-1">Current session</h2>
<div id="countdown">
<p class="left"><span>Time left if unused</span> <strong id="left">${text(view?.ttl)} s</strong></p>
<!-- Hidden from screen readers, some of which beep at each step; the text above says the same. -->
<progress id="bar" aria-hidden="true" max="${text((view?.configured_ttl ?? 1) * 1000)}" value="${text(ttlMs ?? 0)}"></progress>
</div>
<dl>
<dt>Id</dt><dd id="id" class="mono">${text(view?.session_id)}</dd>
<dt>User</dt><dd id="user">${text(view?.session['username'])}</dd>
<dt>Page views</dt><dd id="views">${text(view?.session['page_views'])}</dd>
<dt>Ends when unused for</dt><dd id="configured">${text(view?.configured_ttl)} s</dd>
<dt>Created</dt><dd>${time('created', 'created_at')}</dd>
<dt>Last accessed</dt><dd>${time('accessed', 'last_accessed_at')}</dd>
</dl>
<div class="buttons">
<button id="increment" type="button">Count a page view</button>
<button id="rotate" type="button" class="plain">Rotate</button>
<button id="logout" type="button" class="plain">Log out</button>
</div>
<div id="rotated" class="result" hidden>
<p>The id is still <code id="rotated-id"></code></p>
<p>Hash of the cookie's secret: <code id="before"></code>… before, <code id="after"></code>… now. The old cookie is dead.</p>
</div>
<form id="change" class="inline" method="post" action="/ttl">
<div><label for="new-ttl">New time (seconds)</label>
<input id="new-ttl" name="ttl" type="number" inputmode="numeric" min="1" max="${maxTtl}" step="1" value="${text(view?.configured_ttl)}" required></div>
<button class="plain">Apply</button>
</form>
</section>

<div id="in-more" class="column" ${signedIn}>
<section aria-labelledby="parallel-title">
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
<pre id="record" tabindex="0" role="region" aria-labelledby="record-title"></pre>
<p id="memory-note" class="note" hidden>This server keeps the record in its own memory, laid out as in Redis. Start it with --redis to see the same in redis-cli.</p>
<button id="reread" type="button" class="plain">Read again</button>
</section>
</div>

<p id="status" role="status"></p>
</main>
<script>${SCRIPT}</script>
</body>
</html>
`
}

function cell (number: string): string {
  return `<li data-number="${number}">${number}</li>`
}
