/** What holds for every command: flags, errors in one line, and nothing on the terminal that should not be there. */
import { test } from 'tap'
import { shownAddress } from '../../src/cli/address.js'
import { commands, explain } from '../../src/cli/command-line.js'
import { CommandError } from '../../src/cli/command.js'
import { refusal } from '../../src/cli/connection.js'
import { readFlags } from '../../src/cli/flags.js'
import { bytes, columns, counted, moment, printable, printableLines, quoted, span } from '../../src/cli/output.js'
import { newId } from '../../src/cookie/token.js'
import { startRedis } from '../support/redis-process.js'
import { HOUR, seed, start, UNPRINTABLE } from './kit.js'
import { run, runHere } from './run.js'

const SECRET_WORD = 'hunter2'
/** Commands that talk to Redis, with arguments. */
const TALKING = [['list'], ['list', '--user', 'x'], ['stats'], ['inspect', newId()], ['end', newId()], ['end', '--user', 'x'], ['doctor']]

test('every command has its help', async (t) => {
  const { code, out, err } = await runHere(['--help'])
  t.strictSame([code, err], [0, ''])
  t.strictSame([...out.matchAll(/^ {2}([a-z]+) +[a-z]/gm)].map(([, name]) => name), [...commands.keys()])
  for (const [name, { help }] of commands) {
    t.match(help, new RegExp(`\\n\\nUsage: fastify-live-session ${name}\\b[^]*--help`))
    t.ok(help.split('\n').every((line) => line.length <= 130), name)
    t.match(await runHere([name, '-h']), { code: 0, err: '', out: `${help}\n` })
  }
})

test('a wrong command line: nothing is done, and what is meant is said in one line', async (t) => {
  const { redis, store, env } = await start(t)
  const [id = ''] = await seed(store, [HOUR])
  for (const [args, message] of [
    [[], 'a command is missing'],
    [['lits'], 'there is no command "lits"; the commands are demo, doctor, end, inspect, list, secret, stats'],
    [['--json', 'list'], 'the command comes first, before "--json"'],
    [['secret', 'x'], 'secret: it takes flags only, and "x" is none'],
    [['doctor', 'x'], 'doctor: it takes flags only, and "x" is none'],
    [['stats', '--what'], 'stats: there is no flag "--what"; the flags are --redis, --prefix, --json, --help'],
    [['end', id, '--usr=x'], 'end: there is no flag "--usr"; the flags are --user, --redis, --prefix, --json, --help'],
    [['end', id, '-user', 'x'], 'end: there is no flag "-user"; the flags are --user, --redis, --prefix, --json, --help'],
    [['end', '--__proto__', 'x'], /^end: there is no flag "--__proto__"/],
    [['end', '--'], 'end: an id is missing, or --user'],
    [['end', id, '--json=yes'], 'end: --json takes no value'],
    [['end', id, '--json', '--json'], 'end: --json is given twice'],
    [['end', '--user', 'x', '--user', 'y'], 'end: --user is given twice'],
    [['end', '--user'], 'end: --user needs a value'],
    [['end', '--user', '--json'], 'end: --user needs a value; one that begins with a dash is written --user=-…'],
    [['end', id, '--redis', ''], 'end: --redis is empty'],
    [['end', id, '--prefix='], 'end: --prefix is empty'],
    [['end', id, '--user', 'x'], 'end: give ids or --user, not both'],
    [['end', id, 'andrew'], /^end: an id has 22 letters, digits, - and _, the last of which is A, Q, g or w; "andrew" is none\. .*--user/],
    [['end', id, id.slice(0, 21)], /is none/],
    [['end', id, `${id.slice(0, 21)}B`], /is none/],
    [['end', id, `${id.slice(0, 21)}é`], /an argument of 22 characters is none/],
    [['inspect'], 'inspect: an id is missing'],
    [['inspect', id, id], /^inspect: it takes one id, and "\S+" is one more$/],
    [['inspect', `${id}.c2VjcmV0.c2lnbmF0dXJl`], /^inspect: this looks like a cookie, which is secret/],
    [['list', '--limit', 'x'], 'list: --limit takes a whole number, not "x"'],
    [['list', '--limit=-1'], 'list: --limit takes a whole number, not "-1"'],
    [['list', '--limit', '1.5'], 'list: --limit takes a whole number, not "1.5"']
  ] as Array<[string[], string | RegExp]>) {
    const { code, out, err } = await runHere(args, env)
    t.strictSame([code, out], [2, ''], args.join(' '))
    const [, said, more] = /^fastify-live-session: ([^\n]+)\n([^\n]+)\n$/.exec(err) ?? []
    t.match(said, message, args.join(' '))
    t.equal(more, 'Try "fastify-live-session --help".')
  }
  t.ok(await store.inspect(id))
  t.equal(await redis.ask('DBSIZE'), 1)
})

test('flags stand anywhere, and an id that begins with a dash is no flag', async (t) => {
  const ids = ['-Nc9LTyEG-_OSlJbt1SyFg', '--c9LTyEG-_OSlJbt1SyFg', 'Khwskoce-QghiBAqXWkiFg']
  const flags = { json: { type: 'boolean' }, user: { type: 'string' } } as const
  t.same(readFlags('end', [...ids, '--json'], flags, [1, 3]), { values: { json: true }, positionals: ids })
  t.same(readFlags('end', [ids[0]!, '--json', ids[1]!, ids[2]!], flags, [1, 3]), { values: { json: true }, positionals: ids })
  t.same(readFlags('end', ['--json', '--', ...ids], flags, [1, 3]), { values: { json: true }, positionals: ids })
  t.same(readFlags('end', ['--user=a=b'], flags), { values: { user: 'a=b' }, positionals: [] })
  t.same(readFlags('end', [`--user=${ids[0]}`], flags), { values: { user: ids[0] }, positionals: [] })
  t.same(readFlags('end', ['--user', 'a\nb'], flags), { values: { user: 'a\nb' }, positionals: [] })
  t.throws(() => readFlags('end', ['-Nc9LTyEG'], flags, [1, 3]), { message: /no flag "-Nc9LTyEG"/ })
  t.throws(() => readFlags('end', ['--user', ids[0]!], flags, [1, 3]), { message: /--user=-…/ })
})

test('nothing that a terminal obeys, whatever sessions, arguments and servers hold', async (t) => {
  const { redis, store, env } = await start(t)
  // Escape and control sequences of both ranges, DEL, direction, zero width, line separator, tag, half a surrogate pair.
  const evil = '\u001b[2J\u009b31mred\u009d0;title\u009c\u007f\u202e\u2066\u200b\u2060\u00ad\u2028\u0085\u{e0041}\ud800\t\r\u0007'
  const [id = ''] = await seed(store, [HOUR], { [`name${evil.replace('\ud800', '')}`]: 'x', value: JSON.stringify(evil), nested: JSON.stringify({ [evil]: [evil] }), [evil.replace('\ud800', '').slice(0, 30)]: '1' })
  const key = `session:${id}`
  for (const field of ['@device', '@network', '@persistent']) await redis.ask('HSET', key, field, evil.replace('\ud800', ''))
  await redis.ask('HSET', 'session:\u001b[31m_\u009b31m_________\n', '@digest', 'x')
  for (const args of [
    ['inspect', id, '--values'], ['inspect', id, '--values', '--json'], ['inspect', id], ['inspect', id, '--json'], ['list'], ['list', '--json'], ['stats'], ['stats', '--json'],
    ['list', '--prefix', evil], ['stats', '--prefix', evil], ['end', newId(), '--prefix', evil], ['doctor', '--prefix', evil], ['doctor', '--json', '--prefix', evil],
    ['list', '--user', evil], ['end', '--user', evil], ['end', evil], ['inspect', evil], ['list', '--limit', evil], [`--${evil}`], [evil], ['list', `--${evil}`], ['stats', evil],
    ['list', '--redis', evil], ['list', '--redis', `nonsense://${evil}`], ['list', '--redis', `redis+sentinel://127.0.0.1:${redis.port}/${evil}/x`], ['doctor', '--redis', evil, '--json']
  ]) {
    const { out, err } = await runHere(args, env)
    t.ok(`${out}${err}`.length > 0)
    t.notMatch(out + err, UNPRINTABLE, args.map((arg) => printable(arg)).join(' '))
  }
  const { fields } = JSON.parse((await runHere(['inspect', id, '--values', '--json'], env)).out) as { fields: Record<string, { value: unknown }> }
  t.equal(fields['value']!.value, evil, 'JSON says the same')
  t.strictSame(fields['nested']!.value, { [evil]: [evil] })
  t.notMatch((await runHere(['list', '--json'], env)).out, 'red', 'what only looks like a session is not listed')
})

test('no password and no secret, wherever it was written', async (t) => {
  const redis = await startRedis({ config: `requirepass another\nuser me on >${SECRET_WORD}x ~* +@all` })
  t.teardown(() => redis.stop())
  const at = `127.0.0.1:${redis.port}`
  for (const url of [
    `redis://me:${SECRET_WORD}@${at}`, `redis://:${SECRET_WORD}@${at}/0`, `redis://${SECRET_WORD}@${at}`, `redis://${at}/0?password=${SECRET_WORD}`, `redis://${at}?username=me&password=${SECRET_WORD}`,
    `redis://me:${SECRET_WORD}`, `redis://:${SECRET_WORD}`, `redis://${at},:${SECRET_WORD}`, `redis://${at}/${SECRET_WORD}`,
    `redis://me:a@${SECRET_WORD}@${at}`, `redis://me:a/${SECRET_WORD}@${at}`, `redis://me:a?${SECRET_WORD}@${at}`,
    `redis://${at}/0#${SECRET_WORD}`, `redis://${at}/${SECRET_WORD}/x`, `redis+cluster://me:${SECRET_WORD}@${at}`, `redis+sentinel://me:${SECRET_WORD}@${at}/mymaster?password=${SECRET_WORD}`,
    `redis+sentinel://me:${SECRET_WORD}@${at}`, `nonsense://me:${SECRET_WORD}@${at}`, `me:${SECRET_WORD}@${at}`, `${at} ${SECRET_WORD}`, `redis:/me:${SECRET_WORD}@${at}`
  ]) {
    for (const args of TALKING) {
      for (const [more, variables] of [[['--redis', url], {}], [[], { SESSION_REDIS: url }]] as const) {
        const { code, out, err } = await runHere([...args, ...more], variables)
        t.ok(code === 1 || code === 3, `${code}: ${err}`)
        t.notMatch(out + err, SECRET_WORD, `${args[0]} ${url}`)
        if (args[0] !== 'doctor') t.match(err, /^fastify-live-session: [^\n]+\n$/)
      }
    }
  }
  const url = `redis://me:${SECRET_WORD}@${at}`
  for (const args of [[url], ['stats', url], ['end', url], ['inspect', url], ['list', `--redsi=${url}`], ['list', '--limit', url], ['list', `-r${url}`], ['list', `--${url}`], ['inspect', newId(), url], [`--redis=${url}`, 'list']]) {
    const { code, out, err } = await runHere(args)
    t.equal(code, 2)
    t.notMatch(out + err, SECRET_WORD, args.join(' '))
  }
  t.notMatch((await runHere(['end', 'a secret of 32 characters, base64url'])).err, 'a secret')
  t.match(await run(['list', '--redis', `redis://me:${SECRET_WORD}@${at}/0?password=${SECRET_WORD}`]), { code: 1, out: '', err: new RegExp(`^fastify-live-session: ${at} refused the user or password [^\\n]+\\n$`) })
})

test('what of an address is shown', async (t) => {
  for (const [url, shown] of [
    ['redis://localhost:6379', 'redis://localhost:6379'], ['rediss://me:pw@h:1/3?x=y#z', 'rediss://h:1/3'], ['redis://me:p@w@h/3', 'redis://h/3'], ['redis://[::1]:6379/0', 'redis://[::1]:6379/0'],
    ['redis+cluster://u:p@a:1,b:2', 'redis+cluster://a:1,b:2'], ['rediss+sentinel://u:p@a,b/name', 'rediss+sentinel://a,b/name'], ['redis://h/a/b', 'redis://h'], ['redis+unix:///run/redis.sock', 'redis+unix:///run/redis.sock'],
    ['unix://:pw@/run/redis.sock?db=1', 'unix:///run/redis.sock'], ['redis://u:1/p@h', undefined], ['redis://u:1?p@h', undefined], ['redis://u:1#p@h', undefined], ['redis://', undefined], ['localhost', undefined], ['', undefined], ['redis://a b', undefined],
    ['redis://h:pw', undefined], ['redis://:pw', undefined], ['redis://:12345', undefined], ['redis://h:1,:pw', undefined], ['redis://u:pw/3', undefined], ['redis://h/pw', 'redis://h'], ['redis+sentinel://h/', 'redis+sentinel://h']
  ] as const) t.equal(shownAddress(url), shown, url)
})

test('an address is named once', async (t) => {
  const redis = await startRedis({ config: 'user me on >pw ~* +@all -evalsha' })
  t.teardown(() => redis.stop())
  const at = `127.0.0.1:${redis.port}`
  for (const url of [`redis://${at}/99`, `redis://me:wrong@${at}/0`, `rediss://${at}`, `redis+cluster://${at}`, `redis+sentinel://${at}/mymaster`, 'unix:///nowhere/redis.sock', `redis://me:pw@${at}/3`]) {
    const { err } = await runHere(['end', newId(), '--redis', url])
    const [, name = ''] = /(127[\d.:]+|[/]nowhere\S+sock)/.exec(url)!
    // As part of what to write instead, it may stand once more.
    t.equal(err.replaceAll(`connect by redis://${name}`, '').split(name).length - 1, url.endsWith('/3') ? 0 : 1, `${url}: ${err}`)
  }
  for (const url of ['redis://a,b', 'nonsense', `redis://${at}/x`]) {
    t.match(await runHere(['list', '--redis', url]), { code: 1, err: /^fastify-live-session: --redis: [^\n]+\n$/ })
    t.match(await runHere(['list'], { SESSION_REDIS: url }), { code: 1, err: /^fastify-live-session: SESSION_REDIS: [^\n]+\n$/ })
  }
})

test('what Redis refuses is said in words, whatever its version', async (t) => {
  for (const [message, said] of [
    ["NOPERM User sessions has no permissions to run the 'memory|usage' command", 'this user may not run memory usage'],
    ["NOPERM this user has no permissions to run the 'hkeys' command or its subcommand", 'this user may not run hkeys'],
    ['NOPERM No permissions to access a key', 'this user may not use this key'],
    ['NOPERM this user has no permissions to access one of the keys used as arguments', 'this user may not use this key'],
    ['NOPERM No permissions to access a channel', 'this user may not use this channel'],
    ['NOPERM this user has no permissions to access one of the channels used as arguments', 'this user may not use this channel'],
    ['NOPERM something of a later version', 'Redis answered NOPERM'],
    ["ERR unknown command 'HSET', with args beginning with: 'hunter2'", 'this Redis has no command hset'],
    ['ERR unknown command `hset`, with args beginning with: `hunter2`', 'this Redis has no command hset'],
    ["ERR unknown subcommand 'USAGE'. Try MEMORY HELP.", 'this Redis has no command usage'],
    ['OOM command not allowed when used memory > \'maxmemory\'.', 'Redis answered OOM'],
    ['hunter2', 'Redis answered an error']
  ] as const) t.equal(refusal(new Error(message)), said)
})

test('an error that nobody foresaw is one line, and so is one that nobody caught', async (t) => {
  for (const error of [new TypeError('a\u001b[31m\nb'), new Error(''), 'text', null, undefined, { toString: () => '\n' }, new CommandError('two\nlines\u009b'), Object.assign(new Error('ERR unknown command, with args beginning with: hunter2'), { name: 'ReplyError' })]) {
    const line = explain(error)
    t.match(line, /^fastify-live-session: [^\n]+$/)
    t.notMatch(line, UNPRINTABLE)
    t.notMatch(line, /hunter2|\bat .*:\d/)
  }
  // As soon as the program listens for them, an error from somewhere.
  const late = "setInterval(() => { if (process.listenerCount('uncaughtException') > 0) throw new TypeError('somewhere') }, 1)"
  const rejected = "setInterval(() => { if (process.listenerCount('uncaughtException') > 0) Promise.reject(new TypeError('somewhere')) }, 1)"
  for (const program of [late, rejected]) {
    t.match(await run(['demo', '--port', '0'], { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(program)}` }), {
      code: 1, err: /^fastify-live-session: this should not have happened, please report it: TypeError: somewhere\n$/
    })
  }
})

test('a Redis that is away, or no Redis at all', async (t) => {
  for (const args of [['--redis', 'memory:'], ['--redis', 'redis://127.0.0.1:1']]) {
    const { code, out, err } = await runHere(['list', ...args])
    t.strictSame([code, out], [1, ''])
    t.match(err, /^fastify-live-session: [^\n]+\n$/)
  }
})

test('how numbers, times and texts look', async (t) => {
  t.strictSame([0, 999, 1000, 59_400, 60_000, 61_000, 3_600_000, 5_400_000, 90_000_000, NaN].map(span), ['0 s', '1 s', '1 s', '59 s', '1 min', '1 min 1 s', '1 h', '1 h 30 min', '1 d 1 h', '-'])
  t.strictSame([0, 1023, 1024, 1536, 200 * 1024, 1024 ** 3].map(bytes), ['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '200 KiB', '1.0 GiB'])
  t.strictSame([moment(0), moment(NaN), moment(1e300)], ['1970-01-01 00:00:00Z', '-', '-'])
  t.equal(printable('a\u001b[31m\u202eb\n\u{e0041}'), 'a\\u001b[31m\\u202eb\\u000a\\udb40\\udc41')
  t.equal(printableLines('a\nb\u0085'), 'a\nb\\u0085')
  t.equal(printable('abcdef', 4), 'abc…')
  t.equal(printable('ab🙂cd', 4), 'ab🙂…')
  t.strictSame(['x', '--usr', 'a b', 'x'.repeat(31), ''].map(quoted), ['"x"', '"--usr"', 'an argument of 3 characters', 'an argument of 31 characters', 'an argument of 0 characters'])
  t.strictSame([0, 1, 2, 1234].map((count) => counted(count, 'hash', 'hashes')), ['no hashes', '1 hash', '2 hashes', '1,234 hashes'])
  t.strictSame(columns([['a', '1'], ['bbb', '22']], [1]), ['a     1', 'bbb  22'])
})
