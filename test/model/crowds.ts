/** Many requests at the same moment, on every process of the application. */
import type { Step } from './application.js'
import { Client, idOf, type Answer, type Send } from './client.js'
import { hold } from './invariants.js'

/** How many requests come at once. */
export const MANY = 50

/** An application whose requests a test can hold at the gate. */
export interface Gated {
  readonly send: Send
  arrived (count: number): Promise<void>
  open (): void
}

/** Has requests come at once, spread over processes; all have loaded the session before the first one goes on. */
async function crowd (processes: readonly Gated[], token: string, stepsOf: (i: number) => readonly Step[]): Promise<Answer[]> {
  const shares = processes.map(() => 0)
  const answers = Array.from({ length: MANY }, async (_, i) => {
    shares[i % processes.length]!++
    return await new Client(token).send(processes[i % processes.length]!.send, { steps: [['get', 'n'], ['gate'], ...stepsOf(i)] })
  })
  await Promise.all(processes.map(async (process, i) => { await process.arrived(shares[i]!) }))
  for (const process of processes) process.open()
  return await Promise.all(answers)
}

/** I1: each sets another field. All are there afterwards. */
export async function manyFields (processes: readonly Gated[]): Promise<void> {
  const owner = new Client()
  await owner.send(processes[0]!.send, { steps: [['set', 'n', 1]] })
  const answers = await crowd(processes, owner.token!, (i) => [['set', `f${i}`, i]])
  hold('I16', answers.every(({ status }) => status === 200), () => `answered ${answers.map(({ status }) => status)}`)
  for (const { send } of processes) {
    const { results: [data] } = await owner.send(send, { steps: [['data']] })
    const lost = Array.from({ length: MANY }, (_, i) => i).filter((i) => (data as any)[`f${i}`] !== i)
    hold('I1', lost.length === 0, () => `lost: ${lost}`)
  }
}

/** I3: each increments. Each gets another number, and the sum is exact. */
export async function manyIncrements (processes: readonly Gated[]): Promise<void> {
  const owner = new Client()
  await owner.send(processes[0]!.send, { steps: [['set', 'n', 1]] })
  const answers = await crowd(processes, owner.token!, () => [['live.incr', 'n', 1]])
  const sums = new Set(answers.map(({ results }) => results[2]))
  hold('I3', sums.size === MANY && !sums.has(null), () => `${sums.size} different results`)
  const { results: [n] } = await owner.send(processes[0]!.send, { steps: [['get', 'n']] })
  hold('I3', n === 1 + MANY, () => `${n} after ${MANY} increments of 1`)
}

/**
 * I8: at login the old token is anonymous on every process at once, and requests that came with it before come to nothing.
 */
export async function login (processes: readonly Gated[], how: Step): Promise<void> {
  const owner = new Client()
  await owner.send(processes[0]!.send, { steps: [['set', 'n', 1]] })
  const old = owner.token!
  const late = processes.map(async ({ send }) => await new Client(old).send(send, { steps: [['get', 'n'], ['gate'], ['set', 'late', 1]] }))
  await Promise.all(processes.map(async (process) => { await process.arrived(1) }))
  const answer = await owner.send(processes[0]!.send, { steps: [how, ['set', 'user', 'andrew']] })
  hold('I8', answer.status === 200 && owner.token !== old, 'no new token')
  hold('I8', (idOf(owner.token!) === idOf(old)) === (how[0] === 'rotate'), 'rotate keeps the record, regenerate does not')
  for (const { send } of processes) {
    const { anonymous, cookie } = await new Client(old).send(send, { steps: [['data']], members: true })
    hold('I8', anonymous && cookie === undefined, 'the old token is still good')
    const { results: [data] } = await owner.send(send, { steps: [['data']] })
    hold('I4', (data as any).user === 'andrew', 'the new token does not show what was stored with it')
  }
  for (const process of processes) process.open()
  for (const { status, code, cookie } of await Promise.all(late)) {
    hold('I8', status === 409 && code === 'SESSION_GONE' && cookie === undefined, () => `in flight: ${status}`)
  }
  const { results: [data] } = await owner.send(processes[0]!.send, { steps: [['data']] })
  hold('I8', !('late' in (data as object)), 'what was in flight with the old token was stored')
}

/** I8: a renewal is due, and of the answers some get lost. Nobody is logged out, and there is one successor. */
export async function renewal (servers: readonly Send[], token: string, lost: readonly boolean[]): Promise<void> {
  const clients = lost.map(() => new Client(token))
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(clients.map(async (client, i) =>
      await client.send(servers[i % servers.length]!, { steps: [['set', `f${round}-${i}`, i]], members: true }, { lost: lost[i]! && round < 2 })))
    hold('I8', answers.every(({ status, anonymous }) => status === 200 && !anonymous), 'somebody was logged out')
    const successors = new Set(answers.flatMap(({ cookie }) => cookie === undefined ? [] : [cookie]))
    hold('I8', successors.size <= 1 && !successors.has(token), () => `${successors.size} successors`)
  }
  hold('I8', new Set(clients.map((client) => client.token)).size === 1, 'in the end not everybody has the same token')
  hold('I8', clients[0]!.token !== token, 'nothing was renewed')
  const { results: [data] } = await clients[0]!.send(servers[0]!, { steps: [['data']] })
  hold('I9', Object.keys(data as object).filter((name) => name.startsWith('f')).length === 3 * clients.length, 'a write was lost')
}
