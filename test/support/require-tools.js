/**
 * Makes sure that a `redis-server` is there before the tests run: they start real Redis processes.
 *
 * Run by `npm test` before anything else, so this file needs nothing but Node itself. It says nothing where Redis is
 * there already. Where it is not, and this is a Debian or Ubuntu on which one may install packages without being asked
 * for a password, it installs Redis; anywhere else it tells how to get it and ends with status 1.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const HOW_TO_GET_IT = `The tests start real Redis servers, so they need the program redis-server:

  Debian, Ubuntu   sudo apt-get install redis-server
  Fedora           sudo dnf install redis
  Alpine           apk add redis
  macOS            brew install redis

It has to be on PATH; or let the environment variable REDIS_SERVER name the program.`

/**
 * Installing starts the system's own Redis on port 6379, which nobody asked for: a policy of 'no' (status 101) keeps
 * the package from doing so. A policy that is there already is left alone. An outdated list of packages often still
 * works, so a failed update is no reason to give up.
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
apt-get -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends redis-server
`

/** Whether a program can be run and ends with status 0. */
function runs (program, ...args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

/** What to put in front of a command to run it as root: nothing, sudo, or `undefined` where neither would work. */
function asRoot () {
  if (process.getuid?.() === 0) return []
  return runs('sudo', '-n', 'true') ? ['sudo', '-n'] : undefined
}

/** Installs the package where that can be done without questions. What comes of it is seen by looking again. */
function install () {
  const prefix = existsSync('/etc/debian_version') && runs('apt-get', '--version') ? asRoot() : undefined
  if (prefix === undefined) return
  console.log('No redis-server on PATH: installing the system package redis-server for the tests.')
  const [program, ...args] = [...prefix, 'sh', '-c', INSTALL]
  spawnSync(program, args, { stdio: 'inherit' })
}

const named = process.env.REDIS_SERVER
const program = named || 'redis-server'
// A program that was named, but does not run, is a mistake to be told of, not to be papered over by another one.
if (!runs(program, '--version') && !named) install()
if (!runs(program, '--version')) {
  if (named) console.error(`REDIS_SERVER names ${named}, which does not run.\n`)
  console.error(HOW_TO_GET_IT)
  process.exitCode = 1
}
