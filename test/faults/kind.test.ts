/** What is there is no Redis that sessions can be kept in as they were told to: each case has its own sentence, soon. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { allUnavailable, routes, sessions, startApp } from './kit.js'
import { makeApp, type Lines } from '../support/app.js'
import { startCluster } from '../support/redis-cluster.js'
import { startRedis, type RedisProcess, type StartOptions } from '../support/redis-process.js'
import { startSentinelGroup } from '../support/redis-sentinel.js'
import { Certificates, startTlsRedis, type TlsRedis, type CertificateKind } from '../support/redis-tls.js'
import { until } from '../support/until.js'

/** Milliseconds within which a boot is given up where waiting cannot help, and far below the time that is waited else. */
const SOON = 3500
/** What no message may hold. */
const PASSWORD = 'pa55word'

async function start (t: Test, options: StartOptions = {}): Promise<RedisProcess> {
  const redis = await startRedis(options)
  t.teardown(() => redis.stop())
  return redis
}

async function startTls (t: Test, ...options: Parameters<typeof startTlsRedis>): Promise<TlsRedis> {
  const server = await startTlsRedis(...options)
  t.teardown(() => server.redis.stop())
  return server
}

/** A port on which a server of another kind listens. */
async function portOf (t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

/** Checks that the boot fails with a sentence, within some time, and says nothing that it should not. */
async function refuses (t: Test, what: string, redis: unknown, sentence: RegExp, within = SOON): Promise<void> {
  const begin = performance.now()
  const error: Error = await makeApp(t, { redis: redis as any }).then(() => { throw new Error(`${what}: booted`) }, (error: Error) => error)
  const took = performance.now() - begin
  t.match(error, { code: 'SESSION_OPTION_INVALID', message: sentence }, what)
  t.notMatch(`${error.stack} ${JSON.stringify(error)}`, PASSWORD, what)
  t.ok(took < within, `${what}: ${Math.round(took)} ms`)
}

test('a node of a Cluster of several is no single Redis, whatever it is asked first', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  for (const [i, { url, port, host }] of cluster.nodes.entries()) {
    await refuses(t, `node ${i}`, i % 2 === 0 ? url : { host, port }, new RegExp(`${host}:${port} is a node of a Cluster: connect by redis\\+cluster://${host}:${port}`))
  }
  const [node] = cluster.nodes
  await refuses(t, 'with a database', `${node!.url}/2`, /is a node of a Cluster.*without a database/)
  const client = node!.client()
  await refuses(t, 'a client of the application', client, /is a node of a Cluster.*or pass a Cluster of ioredis/)
  for (const one of cluster.nodes) await one.ask('ACL', 'SETUSER', 'app', 'on', `>${PASSWORD}`, '~*', '+@all', '-cluster|info')
  await refuses(t, 'a right of Cluster clients is missing', cluster.url.replace('://', `://app:${PASSWORD}@`), /may not run CLUSTER INFO \(NOPERM\): allow \+cluster\|info/)
  for (const one of cluster.nodes) await one.ask('ACL', 'SETUSER', 'app', '+cluster|info', '-cluster|slots')
  await refuses(t, 'the other one', cluster.url.replace('://', `://app:${PASSWORD}@`), /may not run CLUSTER SLOTS \(NOPERM\): allow \+cluster\|slots/)
  for (const one of cluster.nodes) await one.ask('ACL', 'SETUSER', 'app', '+cluster|slots', '-evalsha')
  await refuses(t, 'scripts', cluster.url.replace('://', `://app:${PASSWORD}@`), /may not run EVALSHA/)

  // Prefixes that put all keys into one slot have one node, but only that.
  const prefix = '{app}:'
  const owner = await cluster.masterOf(prefix)
  await makeApp(t, { redis: owner.url, prefix })
  await t.rejects(makeApp(t, { redis: cluster.nodes.find((one) => one !== owner)!.url, prefix }), { message: /is a node of a Cluster/ })

  // Not known before it is there, where the app does not wait.
  const lines: Lines = []
  const app = await makeApp(t, { redis: node!.url, startup: 'lazy', lines }, routes)
  await until('the log says so', 5000, () => lines.some(({ reason, advice }) => reason === 'MOVED' && /redis\+cluster/.test(String(advice))))
  t.equal(app.sessions.status(), 'down')
  for (let i = 0; i < 10; i++) t.equal((await app.inject('/set?a=1')).statusCode, 503)
})

test('a Cluster of one node works as a single Redis, and is none any more when it gets a second one', async (t) => {
  // Whoever has no slot yet is no replica because of that.
  const config = 'cluster-enabled yes\ncluster-node-timeout 1500\ncluster-allow-replica-migration no'
  const [one, two] = [await start(t, { config }), await start(t, { config })]
  await one.ask('CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => String(slot)))
  await until('the Cluster is ok', 10_000, async () => (await one.ask('CLUSTER', 'INFO') as string).includes('cluster_state:ok'))
  const lines: Lines = []
  const app = await makeApp(t, { redis: one.url, lines }, routes)
  await sessions(app, 5)
  await one.ask('FLUSHALL')
  await one.ask('CLUSTER', 'MEET', two.host, String(two.port))
  await until('they have met', 10_000, async () => (await two.ask('CLUSTER', 'NODES') as string).trim().split('\n').length === 2 && (await two.ask('CLUSTER', 'INFO') as string).includes('cluster_state:ok'))
  const [, id] = /^(\w+) .*myself/m.exec(await two.ask('CLUSTER', 'NODES') as string)!
  // Of two nodes with one epoch the other would win, and the target might end as its replica.
  await two.ask('CLUSTER', 'BUMPEPOCH')
  // The target first, or it would not be believed.
  for (const node of [two, one]) {
    const client = node.client({ disableClientInfo: true })
    await Promise.all(Array.from({ length: 8192 }, (_, slot) => client.cluster('SETSLOT', slot, 'NODE', id!)))
  }
  await until('the log says so', 10_000, async () => {
    await app.inject('/set?a=1')
    return lines.some(({ reason, advice }) => reason === 'MOVED' && /redis\+cluster/.test(String(advice)))
  })
  t.equal(app.sessions.status(), 'down')
})

test('what is no Cluster, no Sentinel, or knows no such master', async (t) => {
  const redis = await start(t)
  await refuses(t, 'Cluster', `redis+cluster://${redis.host}:${redis.port}`, new RegExp(`${redis.host}:${redis.port} is no Cluster: connect by redis://${redis.host}:${redis.port}`))
  await refuses(t, 'Sentinel', `redis+sentinel://${redis.host}:${redis.port}/mymaster`, new RegExp(`${redis.host}:${redis.port} is no Sentinel: connect .* redis://`))
  const group = await startSentinelGroup()
  t.teardown(() => group.stop())
  const [sentinel] = group.sentinels
  await refuses(t, 'name', group.url.replace(group.name, 'nobody'), /knows no master of that name/)
  await refuses(t, 'a Sentinel as a Redis', sentinel!.url, new RegExp(`${sentinel!.host}:${sentinel!.port} does not know the command DEL.*redis\\+sentinel://`))
  // One of them that is wrong is no reason to give up.
  await makeApp(t, { redis: `redis+sentinel://${redis.host}:${redis.port},${group.sentinels.map(({ host, port }) => `${host}:${port}`).join(',')}/${group.name}` })
})

test('TLS and none', async (t) => {
  const { redis, port, url, certificates } = await startTls(t)
  const ca = certificates.read('ca.pem')
  await makeApp(t, { redis: { host: 'localhost', port, tls: { ca } } })
  for (const given of [`redis://user:${PASSWORD}@localhost:${port}`, { host: 'localhost', port }, `redis+cluster://localhost:${port}`]) {
    await refuses(t, 'plain to TLS', given, new RegExp(`localhost:${port} speaks TLS: connect by rediss://`))
  }
  await refuses(t, 'plain Sentinel to TLS', `redis+sentinel://localhost:${port}/mymaster`, new RegExp(`localhost:${port} speaks TLS`))
  for (const given of [`rediss://user:${PASSWORD}@localhost:${redis.port}`, { host: 'localhost', port: redis.port, tls: { ca } }, `rediss+cluster://localhost:${redis.port}`]) {
    await refuses(t, 'TLS to plain', given, new RegExp(`localhost:${redis.port} does not speak TLS: connect by redis://`))
  }
  const client = new Redis({ host: 'localhost', port, retryStrategy: () => 100 })
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  await refuses(t, 'a client of the application', client, /speaks TLS/)
  for (const given of [url, url.replace('rediss:', 'rediss+cluster:'), { host: 'localhost', port, tls: {} }]) {
    await refuses(t, 'not trusted', given, new RegExp(`certificate of localhost:${port} is not trusted \\(\\w+\\): name its CA in the variable NODE_EXTRA_CA_CERTS`))
  }
})

test('certificates', async (t) => {
  const certificates = new Certificates()
  const ca = certificates.read('ca.pem')
  for (const [kind, sentence] of [
    ['expired', /has expired \(CERT_HAS_EXPIRED\): renew it/],
    ['foreign', /is for another host name \(ERR_TLS_CERT_ALTNAME_INVALID\): .*tls\.servername/]
  ] as ReadonlyArray<[CertificateKind, RegExp]>) {
    const { port } = await startTls(t, kind, {}, certificates)
    await refuses(t, kind, { host: 'localhost', port, tls: { ca } }, new RegExp(`certificate of localhost:${port} ${sentence.source}`))
  }
  const { port } = await startTls(t, 'good', { clients: true }, certificates)
  await refuses(t, 'of the client', { host: 'localhost', port, tls: { ca } }, new RegExp(`localhost:${port} wants a certificate from its clients.*tls\\.cert and tls\\.key`))
  await makeApp(t, { redis: { host: 'localhost', port, tls: { ca, cert: certificates.read('good.pem'), key: certificates.read('good.key') } } })
})

test('a certificate that expires while the app runs: what is connected goes on, the log says why nothing comes back, and it heals', async (t) => {
  const { redis, port, certificates } = await startTls(t)
  const lines: Lines = []
  const app = await makeApp(t, { redis: { host: 'localhost', port, tls: { ca: certificates.read('ca.pem') } }, lines }, routes)
  const [browser] = await sessions(app, 1)
  const show = async (kind: CertificateKind): Promise<void> => {
    const client = redis.client()
    await client.call('CONFIG', 'SET', 'tls-cert-file', certificates.path(`${kind}.pem`), 'tls-key-file', certificates.path(`${kind}.key`))
  }
  await show('expired')
  t.strictSame(await browser!.json('/'), { user: '0' })
  await redis.ask('CLIENT', 'KILL', 'TYPE', 'normal')
  await until('the log says why', 5000, () => lines.some(({ reason, advice }) => reason === 'CERT_HAS_EXPIRED' && /renew it/.test(String(advice))))
  await allUnavailable(t, app, browser!.clone(), 0)
  await show('good')
  await until('it heals', 5000, () => app.sessions.status() === 'ready')
  t.strictSame(await browser!.json('/'), { user: '0' })
})

test('Sentinels and masters, by TLS both, or neither', async (t) => {
  const { redis, port, certificates } = await startTls(t)
  const tls = ['--tls-cert-file', certificates.path('good.pem'), '--tls-key-file', certificates.path('good.key'), '--tls-ca-cert-file', certificates.path('ca.pem'), '--tls-auth-clients', 'no', '--tls-replication', 'yes']
  const watch = async (master: number, tlsPort: number, args: string[]): Promise<RedisProcess> =>
    await start(t, { sentinel: true, config: `sentinel monitor mymaster 127.0.0.1 ${master} 1`, args: [...args, '--tls-port', String(tlsPort)] })
  const tlsPort = randomInt(8000, 9000)
  const [secure, plain] = [await watch(port, tlsPort, tls), await watch(redis.port, 0, [])]
  const ca = { NODE_EXTRA_CA_CERTS: certificates.path('ca.pem') }
  const app = await startApp(t, `rediss+sentinel://localhost:${tlsPort}/mymaster`, ca)
  t.equal((await fetch(`${app.url}/set?user=0`)).status, 200)
  const connections = String(await redis.ask('CLIENT', 'LIST')).split('\n').filter((line) => line.includes('cmd=eval'))
  t.ok(connections.length > 0 && connections.every((line) => line.includes(`laddr=127.0.0.1:${port}`)), 'to the port that speaks TLS')

  await makeApp(t, { redis: `redis+sentinel://localhost:${plain.port}/mymaster` })
  await refuses(t, 'Sentinel speaks TLS', `redis+sentinel://localhost:${tlsPort}/mymaster`, new RegExp(`localhost:${tlsPort} speaks TLS: connect by rediss://`))
  await refuses(t, 'Sentinel does not', `rediss+sentinel://localhost:${plain.port}/mymaster`, new RegExp(`localhost:${plain.port} does not speak TLS`))
  await refuses(t, 'only the master does', `redis+sentinel://localhost:${secure.port}/mymaster`, new RegExp(`127\\.0\\.0\\.1:${port} speaks TLS: connect by rediss://`))
  const sentinel = { sentinels: [{ host: 'localhost', port: tlsPort }], name: 'mymaster', sentinelTLS: { ca: certificates.read('ca.pem') } }
  await refuses(t, 'only the Sentinel is asked by TLS', sentinel, new RegExp(`127\\.0\\.0\\.1:${port} speaks TLS`))
  await makeApp(t, { redis: { ...sentinel, tls: sentinel.sentinelTLS, enableTLSForSentinelMode: true } })
  const mixed = { sentinels: [{ host: 'localhost', port: plain.port }], name: 'mymaster', tls: sentinel.sentinelTLS, enableTLSForSentinelMode: true }
  await refuses(t, 'only the Sentinel does not', mixed, new RegExp(`127\\.0\\.0\\.1:${redis.port} does not speak TLS`))
})

test('lazy: what would stop the boot is one line in the log, which says as much', async (t) => {
  const { redis, port, url } = await startTls(t)
  const group = await startSentinelGroup()
  t.teardown(() => group.stop())
  const web = await portOf(t, createServer((_, response) => { response.end('hello') }))
  const closing = await portOf(t, createTcpServer((socket) => { socket.destroy() }))
  const client = new Redis({ host: 'localhost', port, retryStrategy: () => 100 })
  client.on('error', () => {})
  t.teardown(() => { client.disconnect() })
  await Promise.all(([
    [`redis://localhost:${port}`, /:\d+ speaks TLS: connect by rediss:/],
    [{ host: 'localhost', port }, /speaks TLS: .*or with tls: \{\}/],
    [client, /speaks TLS/],
    [`rediss://localhost:${redis.port}`, /:\d+ does not speak TLS: connect by redis:/],
    [url, /is not trusted .*NODE_EXTRA_CA_CERTS/],
    [`redis+cluster://localhost:${port}`, /speaks TLS/],
    [`rediss+cluster://localhost:${redis.port}`, /does not speak TLS/],
    [url.replace('rediss:', 'rediss+cluster:'), /is not trusted/],
    [`redis+cluster://localhost:${redis.port}`, /is no Cluster: connect by redis:/],
    ['redis+cluster://localhost:1', /nobody listens at localhost:1/],
    [`redis+sentinel://localhost:${port}/mymaster`, /speaks TLS/],
    [group.url.replace('redis+', 'rediss+'), /does not speak TLS/],
    [group.url.replace(group.name, 'nobody'), /knows no master of that name/],
    [`redis+sentinel://localhost:${redis.port}/mymaster`, /is no Sentinel/],
    [`redis://localhost:${web}`, /is no Redis: correct the address/],
    [`rediss://localhost:${web}`, /is no Redis: correct the address/],
    [`redis://localhost:${closing}`, /takes connections and closes them at once/]
  ] as const).map(async ([given, advice]) => {
    const lines: Lines = []
    const app = await makeApp(t, { redis: given as any, startup: 'lazy', lines }, routes)
    const told = (): Lines => lines.filter(({ msg }) => msg.startsWith('the session store'))
    await until(`${String(given)}: a line`, 10_000, () => told().length > 0)
    await sleep(1000)
    t.strictSame(told().map((line) => [line.level, advice.test(String(line['advice']))]), [[50, true]], JSON.stringify(told()))
    t.equal((await app.inject('/set?a=1')).statusCode, 503)
  }))
})

test('a Redis that speaks TLS after a restart, and plainly again: the log says so, once each, and it heals', async (t) => {
  const { redis, port } = await startTls(t)
  let target = redis.port
  const links = new Set<Socket>()
  const relay = await portOf(t, createTcpServer((client) => {
    const server = connect(target, '127.0.0.1')
    for (const [one, other] of [[client, server], [server, client]] as const) one.on('error', () => {}).on('close', () => { other.destroy() }).pipe(other)
    links.add(client)
  }))
  const turn = (to: number): void => {
    target = to
    for (const link of links) link.destroy()
  }
  const lines: Lines = []
  const app = await makeApp(t, { redis: `redis://127.0.0.1:${relay}`, lines }, routes)
  const [browser] = await sessions(app, 1)
  const told = (): unknown[] => lines.filter(({ msg }) => msg.startsWith('the session store')).map(({ level, reason }) => [level, reason ?? ''])
  turn(port)
  await until('the log says why', 5000, () => told().length > 0)
  t.strictSame(told(), [[50, 'TLS']])
  await allUnavailable(t, app, browser!.clone(), 0)
  turn(redis.port)
  await until('it heals', 5000, () => app.sessions.status() === 'ready')
  t.strictSame(told(), [[50, 'TLS'], [30, '']])
  t.strictSame(await browser!.json('/'), { user: '0' })
  turn(0)
})

test('commands and rights that are missing', async (t) => {
  const renamed = async (...commands: string[]): Promise<RedisProcess> =>
    await start(t, { config: commands.map((command) => `rename-command ${command} ""`).join('\n') })
  const inScripts = ['EXISTS', 'HDEL', 'HEXISTS', 'HGET', 'HGETALL', 'HLEN', 'HMGET', 'HSET', 'PEXPIRE', 'PTTL', 'TIME']
  for (const commands of [['EVAL', 'EVALSHA'], ['EVAL'], ['EVALSHA'], ['INFO'], ['DEL'], ['HSET'], ['TIME', 'PEXPIRE']]) {
    const { url, port } = await renamed(...commands)
    await refuses(t, commands.join(' '), url, new RegExp(`:${port} does not know the command (?:${commands.join('|')}), which sessions need`))
  }
  const unchecked = await renamed('INFO')
  await makeApp(t, { redis: { host: unchecked.host, port: unchecked.port, enableReadyCheck: false } })

  const redis = await start(t)
  const url = redis.url.replace('://', `://app:${PASSWORD}@`)
  for (const [rules, sentence] of [
    ...inScripts.map((name) => [[`-${name}`], new RegExp(`may not run ${name} \\(NOPERM\\): allow \\+${name.toLowerCase()}`)] as const),
    [['-eval'], /may not run EVAL \(NOPERM\): allow \+eval/],
    [['-evalsha'], /may not run EVALSHA \(NOPERM\): allow \+evalsha/],
    [['-del'], /may not run DEL \(NOPERM\): allow \+del/],
    [['resetkeys', '~other:*'], /may not touch the keys of sessions \(NOPERM\)/],
    [['off'], /refused the user or password \(WRONGPASS\)/],
    [['resetpass', '>another'], /refused the user or password \(WRONGPASS\): .*encodeURIComponent/]
  ] as const) {
    await redis.ask('ACL', 'SETUSER', 'app', 'reset', 'on', `>${PASSWORD}`, '~*', '&*', '+@all', ...rules)
    await refuses(t, rules.join(' '), url, new RegExp(`${redis.host}:${redis.port}.* ${sentence.source}`))
  }
  // What a script of sessions runs, and is not tried here, some do without.
  const ran = new Set([...readFileSync(new URL('../../src/store/redis-scripts.ts', import.meta.url), 'utf8').matchAll(/redis\.p?call\('(\w+)'/g)].map(([, name]) => name!))
  t.strictSame([...ran].filter((name) => !inScripts.includes(name)).sort(), ['DEL', 'MEMORY'])
  await redis.ask('ACL', 'SETUSER', 'app', 'reset', 'on', `>${PASSWORD}`, '~*', '&*', '+@all', '-memory', '-publish', '-@sortedset', '-scan', '-subscribe', '-ping')
  await makeApp(t, { redis: url })
  t.equal(await redis.ask('DBSIZE'), 0)
  // Full, it is there all the same, for what does not grow.
  const full = await start(t, { config: 'maxmemory 1' })
  await makeApp(t, { redis: full.url })
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  for (const one of cluster.nodes) await one.ask('ACL', 'SETUSER', 'app', 'on', `>${PASSWORD}`, '~*', '&*', '+@all', '-hset')
  await refuses(t, 'of a Cluster', cluster.url.replace('://', `://app:${PASSWORD}@`), /may not run HSET \(NOPERM\): allow \+hset/)
  await redis.ask('CONFIG', 'SET', 'requirepass', PASSWORD)
  await refuses(t, 'no password', redis.url, new RegExp(`${redis.host}:${redis.port} wants a password.*NOAUTH`))
  await refuses(t, 'wrong one behind the ?', `${redis.url}?password=${PASSWORD}x`, /WRONGPASS/)
})

test('what is no Redis at all', async (t) => {
  const web = createServer((_, response) => { response.end('hello') })
  const port = await portOf(t, web)
  await refuses(t, 'HTTP', `redis://127.0.0.1:${port}`, new RegExp(`what listens at 127\\.0\\.0\\.1:${port} is no Redis`))
  const mute = await portOf(t, createTcpServer((socket) => { socket.on('error', () => {}) }))
  await refuses(t, 'HTTP, asked by TLS', `rediss://127.0.0.1:${port}`, new RegExp(`what listens at 127\\.0\\.0\\.1:${port} is no Redis`))
  const closing = await portOf(t, createTcpServer((socket) => { socket.destroy() }))
  for (const scheme of ['redis', 'rediss']) {
    await refuses(t, 'closes', `${scheme}://127.0.0.1:${closing}`, new RegExp(`within 5 s \\(ECONNRESET\\): 127\\.0\\.0\\.1:${closing} (?:takes connections and closes them at once: .*proxy|closed the connection)`), 9500)
  }
  await refuses(t, 'mute', `redis://127.0.0.1:${mute}`, new RegExp(`within 5 s \\(.*127\\.0\\.0\\.1:${mute} gives no answer`), 9500)
})

test('Unix sockets', async (t) => {
  const redis = await start(t)
  const path = join(redis.directory, 'own.sock')
  const local = await start(t, { args: ['--unixsocket', path, '--requirepass', PASSWORD] })
  for (const scheme of ['unix', 'redis+unix']) {
    const app = await makeApp(t, { redis: `${scheme}://:${PASSWORD}@${path}?db=2` }, routes)
    const [browser] = await sessions(app, 1)
    t.strictSame(await browser!.json('/'), { user: '0' }, scheme)
  }
  t.match(await local.client({ password: PASSWORD }).info('keyspace'), /^db2:keys=2,/m)
  t.notMatch(await local.client({ password: PASSWORD }).info('keyspace'), /^db0:/m)
  await refuses(t, 'password', `unix://:${PASSWORD}x@${path}`, new RegExp(`${path} refused the user or password`))
  await refuses(t, 'nothing there', `unix://${path}2`, new RegExp(`within 5 s \\(ENOENT\\): there is no socket ${path}2`), 9500)
})
