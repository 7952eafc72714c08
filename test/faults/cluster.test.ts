/** A Cluster moves slots, loses nodes, and loses answers. */
import { Cluster } from 'ioredis'
import { test } from 'tap'
import { DEFAULT_TIMEOUT, idOf, routes, sessions, SLACK } from './kit.js'
import { makeApp } from '../support/app.js'
import { Browser } from '../support/browser.js'
import { startCluster } from '../support/redis-cluster.js'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js'
import { timed, Traffic } from '../support/traffic.js'
import { until } from '../support/until.js'

test('a Cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())

  await t.test('a lost answer: executed once, whatever the client wants to do about it; and no read goes to a replica', async (t) => {
    const proxies = await Promise.all(cluster.nodes.map(({ port }) => startProxy(port)))
    t.teardown(async () => { await Promise.all(proxies.map((proxy) => proxy.close())) })
    const natMap = Object.fromEntries(cluster.nodes.map(({ host, port }, i) => [`${host}:${port}`, { host: proxies[i]!.host, port: proxies[i]!.port }]))
    const given = new Cluster(proxies.map(({ host, port }) => ({ host, port })), { natMap, scaleReads: 'slave', retryDelayOnFailover: 50 })
    given.on('error', () => {})
    t.teardown(() => { given.disconnect() })
    let proxy: TcpProxy | undefined
    const app = await makeApp(t, { redis: given, timeout: 3000 }, (app) => {
      routes(app)
      app.get('/lost', async ({ session }: any) => { proxy!.dropReplies(1); return { n: await session.live.n.incr() } })
    })
    for (const browser of await sessions(app, 3)) {
      await browser.json('/incr')
      const master = await cluster.masterOf(`session:${idOf(browser)}`)
      proxy = proxies[cluster.nodes.indexOf(master)]!
      const { status, took } = await timed(browser, '/lost')
      t.equal(status, 503)
      t.ok(took < 1500, 'at once, not when its time is over')
      await until('served again', 5000, async () => (await browser.get('/')).statusCode === 200)
      t.strictSame(await browser.json('/incr'), { n: 3 }, 'what was lost happened once')
    }
    const replicas = cluster.nodes.map((node, i) => ({ node, i })).slice(3)
    t.strictSame(replicas.map(({ i }) => (proxies[i]!.seen.names.get('EVALSHA') ?? 0) + (proxies[i]!.seen.names.get('EVAL') ?? 0)), [0, 0, 0], 'scripts go to masters, whatever scaleReads says')
  })

  await t.test('a slot moves under traffic, with its sessions: nobody notices, and every increment counts once', async (t) => {
    const app = await makeApp(t, { redis: cluster.url }, routes)
    const browsers = await sessions(app, 4)
    const key = `session:${idOf(browsers[0]!)}`
    const [slot, from] = [await cluster.slotOf(key), await cluster.masterOf(key)]
    const to = cluster.nodes.slice(0, 3).find((node) => node !== from)!
    const traffic = new Traffic(browsers, '/incr')
    const more = async (): Promise<void> => {
      const before = traffic.count(200)
      await until('traffic', 5000, () => traffic.count(200) > before + 20)
    }
    await more()
    const [fromId, toId] = await Promise.all([from, to].map((node) => node.ask('CLUSTER', 'MYID') as Promise<string>))
    await to.ask('CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', fromId!)
    await from.ask('CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', toId!)
    await more()
    await from.ask('MIGRATE', to.host, String(to.port), key, '0', '1000')
    await more()
    for (const node of [to, from]) await node.ask('CLUSTER', 'SETSLOT', String(slot), 'NODE', toId!)
    await more()
    await traffic.stop()
    t.equal(traffic.count(200), traffic.outcomes.length, JSON.stringify(traffic.outcomes.find(({ status }) => status !== 200)))
    t.comment(`slot migration: slowest request ${traffic.slowest.toFixed()} ms`)
    t.equal(await to.ask('EXISTS', key), 1)
    let sum = 0
    for (const browser of browsers) sum += (await browser.json('/')).n
    t.equal(sum, traffic.outcomes.length)
  })

  for (const [what, stop, go] of [
    ['killed', async (node: typeof cluster.nodes[number]) => { await node.kill() }, async (node: typeof cluster.nodes[number]) => { await node.restart() }],
    ['frozen', async (node: typeof cluster.nodes[number]) => { node.freeze() }, async (node: typeof cluster.nodes[number]) => { node.thaw() }]
  ] as const) {
    await t.test(`a master is ${what}: its sessions are answered 503 until its replica takes over, and nobody waits`, async (t) => {
      await cluster.settled()
      const patient = await makeApp(t, { redis: cluster.url }, routes)
      const app = await makeApp(t, { redis: cluster.url, timeout: DEFAULT_TIMEOUT }, routes)
      const browsers = await sessions(patient, 12)
      const traffic = new Traffic(browsers.map((browser) => browser.clone(app)), '/incr', 20)
      t.teardown(() => traffic.stop())
      await until('traffic', 5000, () => traffic.count(200) > 100)
      t.equal(app.sessions.status(), 'ready')
      const master = await cluster.masterOf(`session:${idOf(browsers[0]!)}`)
      await stop(master)
      await until('failures', 5000, () => traffic.count(503) > 5)
      t.not(app.sessions.status(), 'ready')
      await until('every session is served again', 20_000, async () => {
        const answers = await Promise.all(browsers.map((browser) => browser.clone(app).get('/')))
        return answers.every(({ statusCode }) => statusCode === 200)
      })
      await traffic.stop()
      await go(master)
      t.strictSame([...new Set(traffic.outcomes.map(({ status }) => status))].sort(), [200, 503])
      // Each loads its session, and then increments.
      t.ok(traffic.slowest < 2 * DEFAULT_TIMEOUT + SLACK, `no request hung: ${traffic.slowest.toFixed()} ms`)
      await until('ready', 15_000, () => [app, patient].every(({ sessions }) => sessions.status() === 'ready'))
      let found = 0
      for (const browser of browsers) found += (await browser.json('/')).n
      t.ok(found <= traffic.outcomes.length, 'nothing counted twice')
      t.comment(`${what}: ${traffic.count(503)} of ${traffic.outcomes.length} requests failed, over ${traffic.outage.toFixed()} ms; slowest ${traffic.slowest.toFixed()} ms; ${traffic.count(200) - found} increments lost`)
    })
  }

  await t.test('a Cluster that comes after the app: 503 until then', async (t) => {
    await cluster.settled()
    const before = await makeApp(t, { redis: cluster.url }, routes)
    const [browser] = await sessions(before, 1)
    for (const node of cluster.nodes) node.freeze()
    const app = await makeApp(t, { redis: cluster.url, startup: 'lazy' }, routes)
    t.equal((await browser!.clone(app).get('/')).statusCode, 503)
    t.strictSame(await new Browser(app).json('/'), {})
    t.equal(app.sessions.status(), 'down')
    for (const node of cluster.nodes) node.thaw()
    await until('ready', 20_000, () => app.sessions.status() === 'ready')
    await until('served', 10_000, async () => (await browser!.clone(app).get('/')).statusCode === 200)
  })
})
