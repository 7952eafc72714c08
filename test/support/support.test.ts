/** The means of the other tests, put to the test: what they say they do to Redis is done. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Cluster, Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { startCluster } from './redis-cluster.js'
import { startAll, startRedis, stopAll, type RedisProcess, type StartOptions } from './redis-process.js'
import { startSentinelGroup } from './redis-sentinel.js'
import { MessageSplitter } from './resp.js'
import { startProxy } from './tcp-proxy.js'
import { findProgram, REDIS } from './tools.js'
import { until } from './until.js'

/** A Redis for one test. */
async function redisFor (t: Test, options?: StartOptions): Promise<RedisProcess> {
  const redis = await startRedis(options)
  t.teardown(() => redis.stop())
  return redis
}

/** Whether a process runs; one that has ended, but whose status nobody has asked for, does not. */
function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const stat = `/proc/${pid}/stat`
  return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, 'utf8'))
}

/** A command that fails at once when its connection is lost, and after a while without an answer. */
function impatient (t: Test, url: string): Redis {
  const client = new Redis(url, { maxRetriesPerRequest: 0, commandTimeout: 400, retryStrategy: () => 20 })
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  return client
}

test('require-tools', async t => {
  const script = fileURLToPath(new URL('./require-tools.js', import.meta.url))
  const run = (env: NodeJS.ProcessEnv = {}) => spawnSync(process.execPath, [script], { encoding: 'utf8', env: { ...process.env, ...env } })
  t.match(run(), { status: 0, stdout: '', stderr: '' }, 'says nothing where everything is there')
  for (const [variable, name, advice] of [['REDIS_SERVER', 'redis-server', 'redis-server'], ['CHROMIUM', 'chromium', 'chromium']] as const) {
    const wrong = run({ [variable]: `/nowhere/${name}` })
    t.equal(wrong.status, 1, 'a named program that does not run is an error')
    t.match(wrong.stderr, new RegExp(`^${variable} names /nowhere/${name}[^]*apt-get install ${advice}`))
    t.equal(wrong.stdout, '', 'and nothing is installed in its stead')
  }
})

test('until', async t => {
  let looks = 0
  t.equal(await until('the third look', 1000, () => ++looks === 3 ? looks : undefined), 3)
  const cause = new Error('not yet')
  await t.rejects(until('never', 50, () => { throw cause }), { message: 'Not within 50 ms: never', cause })
})

test('a server is started, and nothing is left when it was stopped', async t => {
  const redis = await startRedis({ args: ['--maxmemory', '12mb'], config: 'maxmemory-policy allkeys-lru\nmaxmemory 9mb' })
  t.teardown(() => redis.stop())
  const client = redis.client()
  t.equal(await client.set('a', '1'), 'OK')
  t.equal(redis.state, 'running')
  t.equal(redis.url, `redis://127.0.0.1:${redis.port}`)
  t.match(await client.info('server'), `process_id:${redis.pid}`)
  t.match(redis.log(), 'Ready to accept connections')
  t.strictSame(await client.config('GET', 'bind'), ['bind', '127.0.0.1'])
  t.strictSame(await client.config('GET', 'save'), ['save', ''])
  t.strictSame(await client.config('GET', 'maxmemory'), ['maxmemory', String(12 * 2 ** 20)], 'arguments win over lines')
  t.strictSame(await client.config('GET', 'maxmemory-policy'), ['maxmemory-policy', 'allkeys-lru'])

  const begin = performance.now()
  await client.call('DEBUG', 'SLEEP', '0.2')
  t.ok(performance.now() - begin >= 199, 'DEBUG SLEEP is allowed')

  const pid = redis.pid!
  t.ok(isAlive(pid))
  await redis.stop()
  await redis.stop()
  t.notOk(isAlive(pid))
  t.notOk(existsSync(redis.directory))
  await until('the client is closed', 1000, () => client.status === 'end')
  await t.rejects(redis.restart(), /was stopped/)
})

test('servers that do not start', async t => {
  const first = await redisFor(t)
  await t.rejects(startRedis({ port: first.port }), /Address already in use/)
  await t.rejects(startRedis({ config: 'nonsense 1' }), /nonsense/, 'the error shows what Redis said')
  await t.rejects(startAll([{}, { config: 'nonsense 1' }]), /nonsense/)
  t.equal(await first.ask('PING'), 'PONG', 'another server is not bothered')
})

test('kill and restart', async t => {
  const [forgetful, lasting] = await startAll([{}, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] }])
  t.teardown(() => stopAll([forgetful!, lasting!]))
  for (const redis of [forgetful!, lasting!]) {
    const { pid, port } = redis
    const client = redis.client()
    await client.set('a', '1')
    await redis.kill()
    t.equal(redis.state, 'down')
    t.equal(redis.pid, undefined)
    t.notOk(isAlive(pid!))
    t.throws(() => { redis.freeze() }, /it is down/)
    await t.rejects(redis.ask('PING'))
    await redis.restart()
    t.equal(redis.port, port)
    t.not(redis.pid, pid)
    t.equal(await client.get('a'), redis === lasting ? '1' : null, 'the client is back by itself')
    await redis.restart()
    t.equal(await client.ping(), 'PONG', 'a running server is restarted as well')
  }
})

test('a server that ends by itself is noticed', async t => {
  const redis = await redisFor(t)
  await redis.ask('SHUTDOWN').catch(() => {})
  await until('the server is down', 2000, () => redis.state === 'down')
  await redis.restart()
  t.equal(await redis.ask('PING'), 'PONG')
})

test('freeze and thaw', async t => {
  const redis = await redisFor(t)
  const client = redis.client()
  await client.ping()
  redis.freeze()
  t.equal(redis.state, 'frozen')
  let isAnswered = false
  const late = client.incr('a').finally(() => { isAnswered = true })
  const newcomer = connect(redis.port, redis.host)
  await once(newcomer, 'connect')
  newcomer.destroy()
  await sleep(200)
  t.notOk(isAnswered, 'new connections are taken, but nothing is answered')
  redis.thaw()
  t.equal(await late, 1, 'what was sent meanwhile is executed then')
  redis.freeze()
  const pid = redis.pid!
  await redis.stop()
  t.notOk(isAlive(pid), 'a frozen server can be stopped')
})

test('the server is the one on PATH, by either name, or the one that is named', async t => {
  const directory = t.testdir()
  symlinkSync(findProgram(REDIS)!, join(directory, 'valkey-server'))
  symlinkSync(findProgram(REDIS)!, join(directory, 'mine'))
  for (const name of ['sh', 'rm']) symlinkSync(`/bin/${name}`, join(directory, name)) // for the guardian
  const program = `
    import { startRedis } from ${JSON.stringify(new URL('./redis-process.ts', import.meta.url).href)}
    const redis = await startRedis()
    console.log(/^executable:(.*?)\\s*$/m.exec(await redis.ask('INFO', 'server'))[1])
    await redis.stop()
  `
  const tsx = import.meta.resolve('tsx')
  const started = async (env: NodeJS.ProcessEnv): Promise<string> => {
    const { REDIS_SERVER: _, ...inherited } = process.env
    const child = spawn(process.execPath, ['--import', tsx, '--input-type=module', '-e', program], {
      cwd: directory, env: { ...inherited, ...env }, stdio: ['ignore', 'pipe', 'pipe']
    })
    const said = Promise.all([text(child.stdout), text(child.stderr)])
    return (await said).join('').trim()
  }
  const [onPath, absolute, relative, wrong] = await Promise.all([
    started({ PATH: directory }),
    started({ REDIS_SERVER: join(directory, 'mine') }),
    started({ REDIS_SERVER: './mine' }),
    started({ REDIS_SERVER: './nowhere' })
  ])
  t.equal(onPath, join(directory, 'valkey-server'))
  t.equal(absolute, join(directory, 'mine'))
  t.equal(relative, join(directory, 'mine'))
  t.match(wrong, /No Redis: put redis-server or valkey-server on PATH, or name a program that runs in REDIS_SERVER/)
})

test('nothing survives the process that started it', async t => {
  const program = `
    import { startAll } from ${JSON.stringify(new URL('./redis-process.ts', import.meta.url).href)}
    const [running, frozen] = await startAll([{}, {}])
    frozen.freeze()
    console.log(JSON.stringify([running, frozen].map(({ pid, directory }) => ({ pid, directory }))))
    if (process.argv[1] === 'throw') throw new Error('on purpose')
    if (process.argv[1] !== 'exit') setInterval(() => {}, 1000)
  `
  // By itself, without having stopped the servers; by an error; by Ctrl-C; asked; and as tap does it at last.
  await Promise.all(['exit', 'throw', 'SIGINT', 'SIGTERM', 'SIGKILL'].map(async end => {
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program, end], { stdio: ['ignore', 'pipe', 'ignore'] })
    const exited = once(child, 'exit')
    const [output] = await once(child.stdout, 'data')
    const servers = JSON.parse(String(output)) as Array<{ pid: number, directory: string }>
    if (end.startsWith('SIG')) {
      t.ok(servers.every(({ pid, directory }) => isAlive(pid) && existsSync(directory)), `${end}: they run`)
      child.kill(end as NodeJS.Signals)
    }
    await exited
    await t.resolves(until('all are gone', 2000, () => servers.every(({ pid, directory }) => !isAlive(pid) && !existsSync(directory))), end)
  }))
})

test('a client behind the proxy', async t => {
  const redis = await redisFor(t)
  const proxy = await startProxy(redis.port)
  t.teardown(() => proxy.close())
  const client = impatient(t, proxy.url)
  const direct = redis.client()

  await t.test('is served and counted', async t => {
    const big = 'x'.repeat(300_000)
    await client.set('big', big)
    t.equal(await client.get('big'), big)
    await client.hset('hash', { a: 1, b: 2 })
    t.strictSame(await client.hgetall('hash'), { a: '1', b: '2' })
    t.strictSame(await client.multi().incr('n').incr('n').exec(), [[null, 1], [null, 2]])
    t.equal(proxy.seen.sockets, 1)
    t.equal(proxy.open, 1)
    t.equal(proxy.seen.names.get('INCR'), 2)
    t.equal(proxy.seen.names.get('HGETALL'), 1)
    t.equal(proxy.seen.commands, [...proxy.seen.names.values()].reduce((sum, n) => sum + n))
  })

  await t.test('loses a reply, but not the effect', async t => {
    proxy.dropReplies(1)
    await t.rejects(client.incr('lost'))
    t.equal(await direct.get('lost'), '1', 'the server has executed the command')
    t.equal(proxy.seen.dropped, 1)
    await until('the client is back', 2000, () => client.status === 'ready')
    t.equal(await client.incr('lost'), 2, 'and only one reply was lost')
  })

  await t.test('loses the reply to what it sends again, too', async t => {
    const stubborn = new Redis(proxy.url, { retryStrategy: () => 20 })
    stubborn.on('error', () => {})
    t.teardown(() => { stubborn.disconnect() })
    await stubborn.ping()
    proxy.dropReplies(2)
    t.equal(await stubborn.incr('again'), 3)
    t.equal(proxy.seen.dropped, 3)
  })

  await t.test('loses only the replies that were named', async t => {
    proxy.dropReplies(1, 'exec')
    t.equal(await client.ping(), 'PONG')
    await t.rejects(client.multi().incr('transaction').exec())
    t.equal(await direct.get('transaction'), '1')
    await until('the client is back', 2000, () => client.status === 'ready')
  })

  await t.test('loses all that follows a lost reply', async t => {
    proxy.dropReplies(1)
    const results = await Promise.allSettled([client.incr('row'), client.incr('row'), client.incr('row')])
    t.strictSame(results.map(({ status }) => status), ['rejected', 'rejected', 'rejected'])
    t.equal(await direct.get('row'), '3')
    await until('the client is back', 2000, () => client.status === 'ready')
    t.equal(await client.incr('row'), 4)
  })

  await t.test('is cut off', async t => {
    const { sockets } = proxy.seen
    const pending = client.blpop('nothing', 0)
    await until('the command is under way', 1000, () => proxy.seen.names.get('BLPOP') === 1)
    proxy.cut()
    await t.rejects(pending)
    await until('the client is back', 2000, () => client.status === 'ready')
    t.equal(proxy.seen.sockets, sockets + 1)
    t.equal(await client.ping(), 'PONG')
  })

  await t.test('waits in a half-open network', async t => {
    proxy.pause()
    await t.rejects(client.incr('half'), /timed out/)
    t.equal(await direct.get('half'), null, 'the command did not arrive')
    proxy.resume()
    await until('the command arrives late', 1000, async () => await direct.get('half') === '1')

    proxy.pause('replies')
    await t.rejects(client.incr('half'), /timed out/)
    t.equal(await direct.get('half'), '2', 'the command arrived, only the answer is missing')
    const patient = new Redis(proxy.url)
    t.teardown(() => { patient.disconnect() })
    const late = patient.incr('half')
    await sleep(100)
    proxy.resume()
    t.equal(await late, 3, 'a connection from meanwhile works, too')
    t.equal(await client.incr('half'), 4)

    proxy.pause('requests')
    await t.rejects(client.incr('half'), /timed out/)
    t.equal(await direct.get('half'), '4')
    client.disconnect()
    await sleep(50)
    t.equal(proxy.open, 2, 'the end of a connection is held back like the rest')
    proxy.resume()
    await until('its end arrives', 1000, () => proxy.open === 1)
    t.equal(await direct.get('half'), '5', 'after the command that nobody waits for any more')
  })

  await t.test('subscribes', async t => {
    const subscriber = new Redis(proxy.url)
    t.teardown(() => { subscriber.disconnect() })
    await subscriber.subscribe('news')
    const message = once(subscriber, 'message')
    await direct.publish('news', 'hello')
    t.strictSame(await message, ['news', 'hello'])
  })

  await t.test('finds nobody behind the proxy', async t => {
    await redis.kill()
    const lost = impatient(t, proxy.url)
    await t.rejects(lost.ping())
    await redis.restart()
    await until('the client is back', 2000, () => lost.status === 'ready')
    t.equal(await lost.ping(), 'PONG')
    await proxy.close()
    await proxy.close()
    t.equal(proxy.open, 0)
  })
})

test('messages are told apart wherever the network cuts them', async t => {
  const messages = [
    '+OK\r\n', '-ERR no\r\n', ':5\r\n', '$5\r\na\r\nbc\r\n', '$0\r\n\r\n', '$-1\r\n', '*-1\r\n', '*0\r\n', '_\r\n', ',1.5\r\n', '#t\r\n',
    '*2\r\n$1\r\na\r\n*1\r\n:1\r\n', '%1\r\n+a\r\n*2\r\n:1\r\n:2\r\n', '~1\r\n+a\r\n', '>2\r\n+message\r\n$1\r\na\r\n', '=5\r\ntxt:a\r\n',
    '!3\r\nERR\r\n', '|1\r\n+a\r\n:1\r\n+the value\r\n', '(123456789012345678901234567890\r\n', 'PING\r\n'
  ]
  const stream = Buffer.from(messages.join(''))
  for (const size of [1, 2, 3, 7, stream.length]) {
    const splitter = new MessageSplitter()
    const found: string[] = []
    for (let i = 0; i < stream.length; i += size) found.push(...splitter.push(stream.subarray(i, i + size)).map(String))
    t.strictSame(found, messages, `${size} bytes at a time`)
  }
})

test('Sentinels', async t => {
  const group = await startSentinelGroup()
  t.teardown(() => group.stop())
  const first = await group.master()
  t.equal(group.sentinels.length, 3)
  t.equal(group.url, `redis+sentinel://127.0.0.1:${group.sentinels.map(({ port }) => port).join(',127.0.0.1:')}/mymaster`)
  t.equal((await group.replicas()).length, 2)
  for (const sentinel of group.sentinels) t.match(await sentinel.ask('SENTINEL', 'CKQUORUM', group.name), /^OK 3 usable/)

  const client = new Redis({
    sentinels: group.sentinels.map(({ host, port }) => ({ host, port })),
    name: group.name,
    sentinelRetryStrategy: () => 50,
    retryStrategy: () => 50
  })
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  await client.set('a', '1')
  t.equal(await client.wait(2, 2000), 2, 'both replicas have it')

  const second = await group.failover()
  t.not(second, first)
  t.equal(first.state, 'running')
  await group.settled()
  t.equal((await group.replicas()).length, 2, 'the first master is a replica now')
  await until('the client writes to the new master', 5000, async () => await client.set('a', '2') === 'OK' && await second.ask('GET', 'a') === '2')

  await client.wait(2, 2000)
  const third = await group.failover('crash')
  t.not(third, second)
  t.equal(second.state, 'down')
  await until('the client writes to the new master', 5000, async () => await client.set('a', '3') === 'OK' && await third.ask('GET', 'a') === '3')
  await second.restart()
  await group.settled()
  t.equal((await group.replicas()).length, 2, 'the restarted one is a replica now')

  const pids = [...group.servers, ...group.sentinels].map(({ pid }) => pid!)
  await group.stop()
  t.notOk(pids.some(isAlive))
})

test('a Cluster', async t => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  t.equal(cluster.nodes.length, 6)
  t.equal(cluster.url, `redis+cluster://127.0.0.1:${cluster.nodes.map(({ port }) => port).join(',127.0.0.1:')}`)
  for (const node of cluster.nodes) t.match(await node.ask('CLUSTER', 'INFO'), 'cluster_state:ok')

  const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })), { clusterRetryStrategy: () => 50 })
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  const masters = new Set<RedisProcess>()
  for (const key of ['a', 'b', 'c']) {
    t.equal(await client.set(key, key), 'OK')
    const master = await cluster.masterOf(key)
    t.equal(await master.ask('GET', key), key)
    const other = cluster.nodes.find(node => node !== master)!
    const slot = await cluster.slotOf(key)
    await t.rejects(other.ask('GET', key), { message: `MOVED ${slot} 127.0.0.1:${master.port}` })
    masters.add(master)
  }
  t.equal(masters.size, 3)

  const former = await cluster.masterOf('free')
  const target = [...masters].find(node => node !== former)!
  await cluster.moveSlot(await cluster.slotOf('free'), target)
  t.equal(await cluster.masterOf('free'), target)
  t.equal(await client.set('free', '1'), 'OK', 'a client with an old map is redirected')
  t.equal(await target.ask('GET', 'free'), '1')

  const victim = await cluster.masterOf('a')
  await victim.kill()
  const heir = await until('a replica takes over', 15_000, () => cluster.masterOf('a'))
  t.not(heir, victim)
  await cluster.settled()
  t.equal(await client.get('a'), 'a')
  await victim.restart()
  await cluster.settled()
  t.equal(await cluster.masterOf('a'), heir, 'the old master is a replica now')

  const pids = cluster.nodes.map(({ pid }) => pid!)
  await cluster.stop()
  t.notOk(pids.some(isAlive))
})
