/**
 * The programs that the tests start, beside Node itself.
 *
 * In JavaScript and without dependencies, because `require-tools.js` needs it before anything is installed.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'

/**
 * @typedef {object} Tool
 * @property {string} variable the environment variable that may name the program
 * @property {string[]} names what the program is called on different systems, the best one first
 * @property {string} package Debian's package that has it
 */

/** Valkey's server takes the same options and answers the same commands. @type {Tool} */
export const REDIS = { variable: 'REDIS_SERVER', names: ['redis-server', 'valkey-server'], package: 'redis-server' }

/** @type {Tool} */
export const CHROMIUM = { variable: 'CHROMIUM', names: ['chromium', 'chromium-browser', 'google-chrome'], package: 'chromium' }

/**
 * The absolute path of a tool's program, which was tried with `--version`. A program that was named, but does not run, is a
 * mistake to be told of, not to be papered over by another one, so then nothing is found.
 *
 * @param {Tool} tool
 * @returns {string | undefined}
 */
export function findProgram ({ variable, names }) {
  const named = process.env[variable]
  return (named ? [named] : names).flatMap(pathsOf).find(path => runs(path, '--version'))
}

/**
 * Whether a program can be run and ends with status 0.
 *
 * @param {string} program
 * @param {string[]} args
 */
export function runs (program, ...args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

/**
 * Where on PATH a program is; one that is named by its path is there.
 *
 * @param {string} name
 */
function pathsOf (name) {
  const paths = /[\\/]/.test(name) ? [resolve(name)] : (process.env.PATH ?? '').split(delimiter).map(directory => resolve(join(directory, name)))
  return paths.filter(path => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
