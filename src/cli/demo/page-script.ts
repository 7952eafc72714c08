/**
 * The page's one script, for browsers: what only a script can do with the session that the server has rendered.
 *
 * No backquotes and no ${…} below: the script is one template of this file. No innerHTML either, ever: what comes out of a
 * session is text that somebody typed, and only goes into `textContent` and `value`.
 */
export const SCRIPT = String.raw`
'use strict'
;(function () {
  const byId = function (id) { return document.getElementById(id) }
  const main = document.querySelector('main')
  const FIELDS = Number(main.dataset.fields)
  const calm = matchMedia('(prefers-reduced-motion: reduce)')

  let shown = null       // the session on the page, as the server last described it
  let deadline = 0       // when it ends unless used, by performance.now()
  let timer = 0
  let events = null      // the server's stream of events, while there is a session
  let seen = null        // when this session was used last, by that stream
  let saying = 0
  let asked = 0          // requests so far: of two answers the one that was asked for later counts
  let applied = 0
  const changes = new Set()  // answers under way that may bring another cookie

  // --- Requests ---------------------------------------------------------------------------------------------------

  async function ask (method, path, form) {
    const answer = send(method, path, form)
    if (method === 'POST') {
      changes.add(answer)
      answer.then(function () { changes.delete(answer) })
    }
    return answer
  }

  /** Never fails: where there is no answer, that is the answer. */
  async function send (method, path, form) {
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
      else miss()
    }
    return answer.ok
  }

  /** The page looked, and there was no session any more. Why, the stream of events knows, and is about to tell. */
  function miss () {
    if (!shown) return
    const id = shown.session_id
    setTimeout(function () {
      if (shown && shown.session_id === id) end('The session ended.')
    }, events ? 2000 : 0)
  }

  /** How the session stands, which does not keep it alive. */
  async function standing () {
    let answer
    // It may be asked with a cookie that is being replaced, by this tab or by another one. What is said after that counts.
    for (const pause of [0, 0, 300]) {
      if (pause > 0) await new Promise(function (resolve) { setTimeout(resolve, pause) })
      answer = await ask('GET', '/session')
      if (!shown || !answer.ok || answer.body.authenticated) break
      await Promise.all(changes)
    }
    return answer
  }

  /** Shows how the session stands. */
  async function look () {
    apply(await standing())
    if (!shown) return
    listen()
    await readRecord()
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
    showTime(byId('created'), view.session.created_at)
    showTime(byId('accessed'), view.session.last_accessed_at)
    byId('bar').max = view.configured_ttl * 1000
    if (another) {
      byId('new-ttl').value = view.configured_ttl
      byId('rotated').hidden = true
      clearCells()
    }
    toggle(true)
    schedule()
    listen()
  }

  /** Goes back to the start form, and says why. */
  function end (why) {
    clearTimeout(timer)
    stopListening()
    drawDevices([])
    // Nobody's focus may vanish together with the panel that held it.
    const lostFocus = byId('in').contains(document.activeElement)
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
    byId('in').hidden = !signedIn
    byId('out').hidden = signedIn
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
    const answer = await standing()
    if (!answer.ok || answer.body.authenticated) {
      apply(answer)
      // The last milliseconds, or a server that is away: ask again, without haste.
      if (shown && deadline <= performance.now()) timer = setTimeout(schedule, 1000)
    } else if (shown && answer.number > applied) {
      end(expired(ttl))
    }
  }

  // --- Devices ----------------------------------------------------------------------------------------------------

  /** The server tells what happens to this session and the others of its user, as long as somebody looks at the page. */
  function listen () {
    if (events || document.hidden) return
    events = new EventSource('/events')
    events.addEventListener('devices', function (event) {
      const devices = JSON.parse(event.data)
      drawDevices(devices)
      // Another tab of this browser used the session.
      const now = devices.find(function (device) { return device.current })
      if (now && seen && now.last_accessed_at !== seen) look()
      seen = now && now.last_accessed_at
    })
    events.addEventListener('ended', function (event) { hearEnd(event.data) })
    events.addEventListener('error', function () {
      // A lost connection the browser takes up again; a refusal is final, and the session says why.
      if (!events || events.readyState !== EventSource.CLOSED) return
      stopListening()
      look()
    })
  }

  function stopListening () {
    if (events) events.close()
    events = null
    seen = null
  }

  async function hearEnd (reason) {
    stopListening()
    // A log-in in another tab ends the session too, and starts one for all tabs. Where there is none, the cookie goes.
    const answer = await standing()
    if (!answer.ok || answer.body.authenticated) apply(answer)
    else if (shown) {
      end(reason === 'ended' ? 'You were signed out from another device.'
        : reason === 'expired' ? expired(shown.configured_ttl)
          : reason === 'reused' ? 'The session was ended: somebody used an old cookie again.' : 'Logged out in another tab.')
    }
  }

  /** What is on the page already stays the same element, so that nothing moves under a pointer. */
  function drawDevices (devices) {
    const list = byId('devices')
    const ids = devices.map(function (device) { return device.id })
    const focused = document.activeElement
    for (const row of Array.from(list.children)) if (!ids.includes(row.dataset.id)) row.remove()
    byId('others').hidden = devices.length < 2
    // Nobody's focus may vanish together with what held it.
    if (focused && focused.getClientRects().length === 0) byId('devices-title').focus()
    for (const device of devices) {
      const row = Array.from(list.children).find(function (row) { return row.dataset.id === device.id }) || addDevice(list, device)
      showTime(row.querySelector('time'), device.last_accessed_at)
    }
  }

  function addDevice (list, device) {
    const row = byId('device').content.firstElementChild.cloneNode(true)
    row.dataset.id = device.id
    row.querySelector('strong').textContent = device.device
    row.querySelector('.network').textContent = device.network
    row.querySelector(device.current ? 'form' : '.badge').remove()
    if (!device.current) {
      row.querySelector('input').value = device.id
      row.querySelector('button').setAttribute('aria-label', 'Sign out ' + device.device)
    }
    list.append(row)
    return row
  }

  async function endDevices (path, form) {
    const answer = await ask('POST', path, form)
    if (!apply(answer)) return
    drawDevices(answer.body.devices)
    say(answer.body.ended === 1 ? 'One device was signed out.' : answer.body.ended + ' devices were signed out.')
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
    apply(await standing())
    say(result)
  }

  // --- The record -------------------------------------------------------------------------------------------------

  async function readRecord () {
    const answer = await ask('GET', '/record')
    if (!answer.ok) {
      if (answer.status === 401) miss()
      else apply(answer)
      return null
    }
    const record = answer.body
    byId('record').textContent = record.text
    return record
  }

  // --- Words ------------------------------------------------------------------------------------------------------

  /** The line lies over the page, so it does not stay for good. */
  function say (text) {
    clearTimeout(saying)
    byId('status').textContent = text
    saying = setTimeout(function () { byId('status').textContent = '' }, 6000)
  }

  function expired (ttl) {
    return 'The session expired: it was not used for ' + seconds(ttl) + '.'
  }

  function seconds (count) {
    if (count < 100) return count + ' s'
    const parts = [[Math.floor(count / 86400), ' d'], [Math.floor(count / 3600) % 24, ' h'], [Math.floor(count / 60) % 60, ' min'], [count % 60, ' s']]
    return parts.filter(function (part) { return part[0] > 0 }).map(function (part) { return part.join('') }).join(' ')
  }

  /** The time of day, or the date too where it is not today's. */
  function showTime (element, iso) {
    const date = new Date(iso)
    const isToday = date.toDateString() === new Date().toDateString()
    element.dateTime = iso
    if (Number.isNaN(date.getTime())) element.textContent = iso
    else element.textContent = isToday ? date.toLocaleTimeString() : date.toLocaleString(undefined, { dateStyle: 'short', timeStyle: 'short' })
  }

  // --- What people can do -----------------------------------------------------------------------------------------

  /** One action of one button at a time. The button is not disabled, because that would take its focus away. */
  async function once (button, action) {
    if (button.getAttribute('aria-disabled') === 'true') return
    button.setAttribute('aria-disabled', 'true')
    try {
      await action()
    } finally {
      button.removeAttribute('aria-disabled')
    }
  }

  function onClick (id, action) {
    byId(id).addEventListener('click', function () { once(byId(id), action) })
  }

  async function change (path, form, done) {
    const answer = await ask('POST', path, form)
    if (!apply(answer)) return
    // Where that failed, it has been said.
    if (await readRecord()) say(done(answer.body))
  }

  /** What the page's forms do here instead of loading the page anew, by where they would go. */
  const actions = {
    '/login': async function (path, form) {
      const answer = await ask('POST', path, form)
      if (!apply(answer)) return
      byId('in-title').focus()
      if (await readRecord()) say('Session started. Unused, it ends in ' + seconds(answer.body.configured_ttl) + '.')
    },

    '/ttl': function (path, form) {
      return change(path, form, function (body) {
        return 'The session now ends when it is not used for ' + seconds(body.configured_ttl) + '.'
      })
    },

    '/increment': function (path, form) {
      return change(path, form, function (body) { return 'Page views: ' + body.page_views + '. The countdown starts over.' })
    },

    '/rotate': function (path, form) {
      return change(path, form, function (body) {
        byId('rotated-id').textContent = body.session_id
        byId('before').textContent = body.fingerprint.before
        byId('after').textContent = body.fingerprint.after
        byId('rotated').hidden = false
        return 'New secret in the cookie; the session is the same.'
      })
    },

    '/devices/end': endDevices,
    '/devices/end-others': endDevices,

    '/logout': async function (path, form) {
      // Nobody has to tell this tab.
      stopListening()
      const answer = await ask('POST', path, form)
      if (answer.ok) {
        end('Logged out. The record is deleted.')
      } else {
        say(answer.body.error)
        listen()
      }
    }
  }

  document.addEventListener('submit', function (event) {
    event.preventDefault()
    const form = event.target
    const path = form.getAttribute('action')
    once(form.querySelector('button'), function () { return actions[path](path, new FormData(form)) })
  })

  onClick('parallel', writeInParallel)

  onClick('reread', async function () {
    if (await readRecord()) say('Record read. Looking does not keep the session alive.')
  })

  // Browsers open few connections to one server, for all tabs together: a page that nobody sees keeps none.
  document.addEventListener('visibilitychange', function () {
    if (document.hidden) stopListening()
    else look()
  })

  // The server has rendered the session already; what only a script can do starts here.
  for (const element of document.querySelectorAll('[data-live]')) element.hidden = false
  for (const element of document.querySelectorAll('time')) showTime(element, element.dateTime)
  const initial = JSON.parse(main.dataset.session)
  if (initial) show(initial, Number(main.dataset.ttl))
})()
`
