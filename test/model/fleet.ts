/** Several processes of the application under test, reached over HTTP. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { guard, release } from '../support/guardian.js'
import type { Send } from './client.js'
import type { Order } from './process.js'

const PROGRAM = fileURLToPath(new URL('process.ts', import.meta.url))

export interface Process {
  readonly send: Send
  /** Resolves when so many requests stand at the gate. */
  arrived (count: number): Promise<void>
  /** Lets them through; later ones find a gate that is closed. */
  open (): void
}

/** Starts processes that end with the test. */
export async function startProcesses (t: Test, redis: string, count: number): Promise<Process[]> {
  return await Promise.all(Array.from({ length: count }, async () => {
    const child = fork(PROGRAM, [redis], { execArgv: ['--import', 'tsx'], env: { ...process.env, NODE_OPTIONS: '' } })
    guard(child.pid!)
    const ended = once(child, 'exit').then(() => { release(child.pid!) })
    t.teardown(async () => {
      if (child.connected) child.disconnect()
      await ended
    })
    const origin = await message(child)
    return {
      send: async (route, script, cookie) => {
        const response = await fetch(origin + route, {
          method: 'POST', body: JSON.stringify(script), headers: { 'content-type': 'application/json', ...cookie !== undefined && { cookie } }
        })
        return { status: response.status, setCookie: response.headers.getSetCookie(), body: await response.text() }
      },
      arrived: async (count) => {
        child.send({ arrived: count } satisfies Order)
        await message(child)
      },
      open: () => { child.send('open' satisfies Order) }
    }
  }))
}

/** The next text that a process sends; what its loader says are objects. */
async function message (child: ChildProcess): Promise<string> {
  return await new Promise((resolve, reject) => {
    const listen = (text: unknown): void => {
      if (typeof text !== 'string') return
      child.off('message', listen)
      resolve(text)
    }
    child.on('message', listen)
    child.once('exit', (code) => { reject(new Error(`the process ended with ${String(code)}`)) })
  })
}
