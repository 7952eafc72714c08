/**
 * Makes sure that a Redis server and Chromium are there before the tests run: they start real Redis processes, and try
 * the demo in a real browser.
 *
 * Run by `npm test` before anything else, so this file needs nothing but Node itself. It says nothing where both are
 * there already. Where one is not, and this is a Debian or Ubuntu on which one may install packages without being asked
 * for a password, it installs the package; anywhere else it tells how to get it and ends with status 1.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { CHROMIUM, findProgram, REDIS, runs } from './tools.js'

const HOW_TO_GET_IT = new Map([
  [REDIS, `The tests start real Redis servers, so they need the program redis-server or valkey-server:

  Debian, Ubuntu   sudo apt-get install redis-server
  Fedora           sudo dnf install valkey
  Alpine           apk add redis
  macOS            brew install redis

It has to be on PATH; or let the environment variable REDIS_SERVER name the program.`],
  [CHROMIUM, `The tests try the demo in a real browser, so they need Chromium or Chrome:

  Debian           sudo apt-get install chromium
  Ubuntu           sudo snap install chromium
  Fedora           sudo dnf install chromium
  Alpine           apk add chromium
  macOS            CHROMIUM='/Applications/Google Chrome.app/Contents/MacOS/Google Chrome' npm test

It has to be on PATH as ${CHROMIUM.names.join(', ')}; or let the environment variable CHROMIUM name the program.`]
])

/**
 * Installing starts the system's own Redis on port 6379, which nobody asked for: a policy of 'no' (status 101) keeps
 * the package from doing so. A policy that is there already is left alone. An outdated list of packages often still
 * works, so a failed update is no reason to give up; nor is a package that cannot be had, for the others.
 */
const INSTALL = `
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' > "$policy" && chmod 755 "$policy" || exit 1
fi
apt-get -o DPkg::Lock::Timeout=120 update || echo 'The list of packages could not be updated.'
for package; do
  apt-get -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends "$package"
done
`

/** What to put in front of a command to run it as root: nothing, sudo, or `undefined` where neither would work. */
function asRoot () {
  if (process.getuid?.() === 0) return []
  return runs('sudo', '-n', 'true') ? ['sudo', '-n'] : undefined
}

/**
 * Installs packages where that can be done without questions. What comes of it is seen by looking again.
 *
 * @param {string[]} packages
 */
function install (packages) {
  const prefix = existsSync('/etc/debian_version') && runs('apt-get', '--version') ? asRoot() : undefined
  if (prefix === undefined) return
  console.log(`Not on PATH: ${packages.join(', ')}. Installing the system packages of these names for the tests.`)
  const [program = '', ...args] = [...prefix, 'sh', '-c', INSTALL, 'sh', ...packages]
  spawnSync(program, args, { stdio: 'inherit' })
}

const missing = [...HOW_TO_GET_IT.keys()].filter(tool => findProgram(tool) === undefined)
const wanted = missing.filter(({ variable }) => !process.env[variable])
if (wanted.length > 0) install(wanted.map(tool => tool.package))
for (const tool of missing) {
  if (findProgram(tool) !== undefined) continue
  const named = process.env[tool.variable]
  if (named) console.error(`${tool.variable} names ${named}, which does not run.\n`)
  console.error(`${HOW_TO_GET_IT.get(tool)}\n`)
  process.exitCode = 1
}
