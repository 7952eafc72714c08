/** A group under Sentinels loses its master, in every way, under traffic. */
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { DEFAULT_TIMEOUT, idOf, routes, sessions, SLACK, unavailable } from './kit.js'
import { makeApp } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startSentinelGroup, type FailoverKind, type SentinelGroup } from '../support/redis-sentinel.js'
import { Traffic } from '../support/traffic.js'
import { until } from '../support/until.js'

/** A Sentinel takes a master for dead after 1 s; on a busy machine it may take several attempts to promote another. */
const OUTAGE = 25_000
/** A subscription may have to notice that its server is gone, and connect to another one. */
const HEARD = 10_000

test('a group under Sentinels', async (t) => {
  const group: SentinelGroup = await startSentinelGroup()
  t.teardown(() => group.stop())
  const [app, other, hurried] = await Promise.all([
    makeApp(t, { redis: group.url }, routes),
    makeApp(t, { redis: group.url }, routes),
    makeApp(t, { redis: group.url, timeout: DEFAULT_TIMEOUT }, routes)
  ])

  for (const [kind, what] of [['ask', 'planned failover'], ['freeze', 'frozen master, which comes back'], ['crash', 'killed master']] as Array<[FailoverKind, string]>) {
    await t.test(`${what}: 503 for a while and no hang, the logout of before holds, open connections hear of the next one, and it heals by itself`, async (t) => {
      await group.settled()
      await until('in use', 5000, async () => (await Promise.all([app, hurried].map((app) => new Browser(app).get('/set?a=1')))).every(({ statusCode }) => statusCode === 200))
      const browsers = await sessions(app, 10)
      const [leaver, watcher] = await sessions(app, 2)
      const watched = watcher!.clone().json('/wait')
      const traffic = new Traffic(browsers.map((browser) => browser.clone(hurried)), '/incr')
      await until('traffic', 5000, () => traffic.count(200) > 50)
      await leaver!.clone().json('/logout')
      // What was not replicated yet is lost with its master: that is what Redis promises, and this test is not about.
      const former = await group.master()
      await until('the logout reached the replicas', 5000, async () => {
        const copies = await Promise.all((await group.replicas()).map((replica) => replica.ask('EXISTS', `session:${idOf(leaver!)}`)))
        return copies.every((copy) => copy === 0)
      })
      await group.failover(kind)
      await until('served again, by the new master', OUTAGE, () => traffic.outcomes.at(-1)!.status === 200 && hurried.sessions.status() !== 'down')
      const served = traffic.count(200)
      await until('traffic', 5000, () => traffic.count(200) > served + 50)
      if (kind === 'freeze') former.thaw()
      if (kind === 'crash') await former.restart()
      if (kind !== 'ask') {
        await group.settled()
        const served = traffic.count(200)
        await until('traffic', 5000, () => traffic.count(200) > served + 50)
      }
      await traffic.stop()
      t.strictSame([...new Set(traffic.outcomes.map(({ status }) => status))].filter((status) => status !== 200 && status !== 503), [])
      // Each loads its session, and then increments.
      t.ok(traffic.slowest < 2 * DEFAULT_TIMEOUT + SLACK, `no request hung: ${traffic.slowest.toFixed()} ms`)
      const lost = await missing(traffic, browsers)
      t.comment(`${what}: ${traffic.count(503)} of ${traffic.outcomes.length} requests failed, over ${traffic.outage.toFixed()} ms; ${lost} of ${traffic.count(200)} increments told as done are lost; slowest ${traffic.slowest.toFixed()} ms`)
      t.strictSame(await leaver!.json('/'), {}, 'the logout holds')
      await until('the other process is served', OUTAGE, async () => (await watcher!.clone(other).get('/logout')).statusCode === 200)
      t.match(await Promise.race([watched, sleep(HEARD, undefined, { ref: false })]), { reason: /^(?:destroyed|ended)$/ }, 'an open connection hears of a logout in another process')
    })
  }

  await t.test('no Sentinel can be reached: what is connected goes on; an app that boots lazily waits for them', async (t) => {
    await group.settled()
    for (const sentinel of group.sentinels) sentinel.freeze()
    const [browser] = await sessions(app, 1)
    t.strictSame(await browser!.json('/'), { user: '0' })
    const lazy = await makeApp(t, { redis: group.url, startup: 'lazy' }, routes)
    unavailable(t, await browser!.clone(lazy).get('/'), 'without Sentinels')
    t.equal(lazy.sessions.status(), 'down')
    for (const sentinel of group.sentinels) sentinel.thaw()
    await until('ready', 15_000, () => lazy.sessions.status() === 'ready')
    t.strictSame(await browser!.clone(lazy).json('/'), { user: '0' })
  })
})

/** How many increments were told as done and are not in the counters. None may be there more often than was tried. */
async function missing (traffic: Traffic, browsers: readonly Browser[]): Promise<number> {
  let found = 0
  for (const browser of browsers) {
    // The client may have to connect once more, for what the Sentinels say of the failover afterwards.
    await until('readable', OUTAGE, async () => (await browser.get('/')).statusCode === 200)
    found += (await browser.json('/')).n ?? 0
  }
  if (found > traffic.outcomes.length) throw new Error(`${found} increments, but only ${traffic.outcomes.length} requests`)
  return Math.max(0, traffic.count(200) - found)
}
