import { test } from 'tap'
import { RedisClock } from '../../src/store/redis-clock.js'

const TIMEOUT = 250
/** What this Redis' clock is ahead of this process' in these tests, milliseconds. */
const AHEAD = 1_700_000_000_000

interface Exchange { written: number, executed: number, read: number, ahead?: number }

/** Has a clock learn from an exchange in which Redis read its own clock at `executed`. */
function exchange (clock: RedisClock, { written, executed, read, ahead = AHEAD }: Exchange): void {
  clock.learn(Math.floor(executed + ahead), written, read)
}

/** When, by this process' clock, the last moment is over in which a script takes a write. */
function lastMoment (clock: RedisClock, moment: number, ahead = AHEAD): number {
  return clock.deadline(moment) + 1 - ahead
}

test('an unknown clock lets no write happen', async (t) => {
  const clock = new RedisClock(TIMEOUT)
  t.equal(clock.known, false)
  t.equal(clock.deadline(1000), 0)
  t.equal(clock.doubt, 0)
})

test('an answer that was read at once: deadlines are exact to the milliseconds that it took, and never late', async (t) => {
  const clock = new RedisClock(TIMEOUT)
  exchange(clock, { written: 1000.2, executed: 1000.6, read: 1001.1 })
  t.equal(clock.known, true)
  t.equal(clock.doubt, 0)
  const last = lastMoment(clock, 5000)
  t.ok(last <= 5000 && last > 4997, `${last}`)
  t.ok(Math.abs(clock.at(5000) - AHEAD - 5000) <= 2)
})

test('an answer that was read late takes no write\'s time away, and what may be too late is waited for', async (t) => {
  for (const late of [200, 1000, 1900]) {
    const clock = new RedisClock(TIMEOUT)
    exchange(clock, { written: 1000, executed: 1000.4, read: 1000 + late })
    const last = lastMoment(clock, 5000)
    t.ok(last > 5000 - TIMEOUT / 2 - 3, `${late} ms late: ${last - 5000}`)
    t.ok(last <= 5000 + clock.doubt, 'safe')
    // The same answer, if it was Redis that took so long.
    const slow = new RedisClock(TIMEOUT)
    exchange(slow, { written: 1000, executed: 1000 + late - 0.4, read: 1000 + late })
    t.ok(lastMoment(slow, 5000) <= 5000 + slow.doubt, 'safe the other way round')
    t.ok(clock.doubt <= late, `in doubt for ${clock.doubt} ms`)
    // The first one that is read at once ends the doubt, and late ones do not bring it back.
    exchange(clock, { written: 6000, executed: 6000.3, read: 6000.8 })
    exchange(clock, { written: 7000, executed: 7000.3, read: 7000 + late })
    t.equal(clock.doubt, 0)
    t.ok(lastMoment(clock, 9000) > 8997)
  }
})

test('doubt has a limit, even where the process stood still for an hour', async (t) => {
  const clock = new RedisClock(TIMEOUT)
  exchange(clock, { written: 0, executed: 1, read: 3_600_000 })
  t.equal(clock.doubt, 2000)
  t.ok(lastMoment(clock, 4_000_000) <= 4_000_000 + clock.doubt)
})

test('a clock that was set: the next answer tells, in both directions, and also if it is read late', async (t) => {
  for (const step of [-60_000, -500, -20, 20, 500, 60_000]) {
    for (const late of [0.5, 400]) {
      const clock = new RedisClock(TIMEOUT)
      exchange(clock, { written: 1000, executed: 1000.3, read: 1000.6 })
      exchange(clock, { written: 2000, executed: 2000.3, read: 2000.3 + late, ahead: AHEAD + step })
      const last = lastMoment(clock, 5000, AHEAD + step)
      // Forward, by less than it was late: nobody can see that, and nothing happens too late.
      t.ok(last <= 5000 + clock.doubt, `${step} ms, ${late} ms late: ${last - 5000}`)
      if (step < 0 || step > late) t.ok(last > 5000 - TIMEOUT / 2 - 3, `${step} ms, ${late} ms late: ${last - 5000}`)
    }
  }
})

test('clocks that drift apart are followed', async (t) => {
  for (const drift of [-1e-4, 1e-4]) {
    const clock = new RedisClock(TIMEOUT)
    for (let at = 0; at < 3_600_000; at += 1000) {
      const ahead = AHEAD + at * drift
      exchange(clock, { written: at, executed: at + 0.4, read: at + 0.8, ahead })
      const last = lastMoment(clock, at + 250, ahead) - clock.doubt
      // A drift that is smaller than the time an answer takes cannot be seen.
      if (last > at + 252 || last < at + 245) t.fail(`${last - at}`)
    }
    t.pass(`${drift}`)
  }
})
