import { test } from 'tap'
import { readAddress } from '../../src/store/redis-address.js'

const node = (host: string, port = 6379): { host: string, port: number } => ({ host, port })

test('what a URL says', async (t) => {
  const single = (nodes: unknown[], options: object): object => ({ kind: 'single', nodes, options })
  for (const [url, address] of [
    ['redis://h', single([node('h')], { db: 0 })],
    ['redis://h/', single([node('h')], { db: 0 })],
    [' redis://h/2\n', single([node('h')], { db: 2 })],
    ['redis://h:7000/15', single([node('h', 7000)], { db: 15 })],
    ['redis:///3', single([node('localhost')], { db: 3 })],
    ['REDIS://h?db=4', single([node('h')], { db: 4 })],
    ['redis://h/4?db=4&db=4', single([node('h')], { db: 4 })],
    ['redis://u:p@h?password=p', single([node('h')], { username: 'u', password: 'p', db: 0 })],
    ['rediss://u:p@h:1?family=6', single([node('h', 1)], { family: 6, username: 'u', password: 'p', tls: {}, db: 0 })],
    ['redis://[::1]:7000', single([node('::1', 7000)], { db: 0 })],
    ['redis://:a:b@h', single([node('h')], { password: 'a:b', db: 0 })],
    ['redis://u@h', single([node('h')], { username: 'u', db: 0 })],
    ['redis://:a@b@h', single([node('h')], { password: 'a@b', db: 0 })],
    ['redis://u%40:%2F%23%3F%25%40@h', single([node('h')], { username: 'u@', password: '/#?%@', db: 0 })],
    ['redis://h?username=u&password=a@b%23', single([node('h')], { username: 'u', password: 'a@b#', db: 0 })],
    ['unix:///run/redis.sock', single([], { path: '/run/redis.sock', db: 0 })],
    ['redis+unix://u:p@/run/a%20b@c.sock?db=2', single([], { username: 'u', password: 'p', path: '/run/a b@c.sock', db: 2 })],
    ['redis+sentinel://u:p@a,b:1/my%20master', { kind: 'sentinel', nodes: [node('a', 26379), node('b', 1)], options: { username: 'u', password: 'p', name: 'my master', db: 0 } }],
    ['rediss+sentinel://a/m?db=5', { kind: 'sentinel', nodes: [node('a', 26379)], options: { tls: {}, name: 'm', db: 5 } }],
    ['redis+cluster://:p@a:7000,b', { kind: 'cluster', nodes: [node('a', 7000), node('b')], options: { password: 'p' } }],
    ['rediss+cluster://a/?db=0', { kind: 'cluster', nodes: [node('a')], options: { tls: {} } }]
  ] as const) t.strictSame(readAddress(url), address, url)
})

test('what makes no sense is refused in a sentence, which shows nothing of the URL', async (t) => {
  for (const [url, message] of [
    ['', /expected redis:\/\/host.*redis\+sentinel.*redis\+cluster.*rediss \(TLS\).*unix:\/\/\/path.*memory:/],
    ['hunter2', /expected redis:/],
    ['host:6379', /expected redis:/],
    ['/run/redis.sock', /unix:\/\/\/path/],
    ['http://hunter2@h', /expected redis:/],
    ['redis:h', /expected redis:/],
    ['redis://h/-1', /number of a database/],
    ['redis://h/1.5', /number of a database/],
    ['redis://h/hunter2', /number of a database.*unix:/],
    ['redis://h/2/', /number of a database/],
    ['redis://h/2147483648000', /a number from 0/],
    ['redis://h?db=hunter2', /a number from 0/],
    ['redis://h?db=', /a number from 0/],
    ['redis://h?db=-1', /a number from 0/],
    ['redis://h/1?db=2', /two databases/],
    ['redis://h?db=1&db=2', /says db twice/],
    ['redis://h?password=hunter2&password=3', /says password twice/],
    ['redis://:hunter2@h?password=3', /says password twice/],
    ['redis://u:hunter2@h?username=v', /says username twice/],
    ['redis://h?family=4&family=6', /says family twice/],
    ['redis://h?__proto__=hunter2', /db, username, password and family/],
    ['redis+cluster://h/3', /Cluster has no databases/],
    ['redis+cluster://h?db=3', /Cluster has no databases/],
    ['redis+sentinel://h', /name of the master/],
    ['redis+sentinel://h/', /name of the master/],
    ['redis+sentinel://h/name/2', /name\?db=2/],
    ['redis+sentinel://user:%zz@h/name', /%25/],
    ['redis://:hunter2%@h', /%25/],
    // A password that was not encoded, cut in two by its own characters.
    ['redis://:a/hunter2@h:6379/2', /encodeURIComponent/],
    ['redis://:a#hunter2@h:6379/2', /encodeURIComponent/],
    ['redis://:a?hunter2@h:6379/2', /encodeURIComponent/],
    ['redis://:a@hunter2/b@h', /encodeURIComponent/],
    ['redis+sentinel://:a/hunter2@h/name', /encodeURIComponent/],
    ['redis+cluster://:a/hunter2@h,i', /encodeURIComponent/],
    ['redis://h#hunter2', /encodeURIComponent/],
    ['redis://hunter2:x', /hosts or ports.*encodeURIComponent/],
    ['redis://h:99999', /hosts or ports/],
    ['redis://h?hunter2', /db, username, password and family/],
    ['redis://h?tls=hunter2', /db, username, password and family/],
    ['redis://h?family=5', /family/],
    ['redis://a,b', /one server.*redis\+sentinel.*redis\+cluster/],
    ['unix://hunter2/redis.sock', /three slashes/],
    ['unix://', /three slashes/]
  ] as const) {
    t.throws(() => readAddress(url), { code: 'SESSION_OPTION_INVALID', message }, url)
    t.throws(() => readAddress(url), { message: /^(?!.*(?:hunter2|zz))/s }, url)
  }
})
