/**
 * What a setting is called here that people know by another name: that of another library, or one that is misspelt.
 */

/**
 * Settings of express-session, @fastify/session, @fastify/secure-session, @mgcrea/fastify-session, connect-redis,
 * cookie-session, iron-session, koa-session, Laravel, Django, Flask and Spring, in lower case without separators, and what
 * is set here instead. In braces stands an option; in a message about variables, its variable takes its place.
 */
const RENAMED = spread({
  'maxage cookiemaxage expires cookieexpires expiry expiration expirationtime expiresin ttl redisttl storettl sessionttl duration sessionduration cookieage age':
    '{idleTimeout} (how long a session lasts unused) or {lifetime} (how long at most), both in seconds; {cookie.persistent} lets the cookie outlive the browser',
  'inactivity inactivitytimeout maxinactiveinterval activeduration idle idletime idlettl sessiontimeout': '{idleTimeout}, in seconds',
  'absolutetimeout absolutettl absoluteduration maxlifetime maxduration sessionlifetime': '{lifetime}, in seconds',
  'cookiename sessionname sessioncookie sessioncookiename cookie name sid sessionid cookiekey': '{cookie.name}',
  key: '{secret} for what signs the cookie, {cookie.name} for its name',
  salt: '{secret}, which needs no salt',
  'secrets secretkey sessionsecret sessionkey cookiesecret cookiepassword password passwords keys keygrip signingkey signingsecret signer': '{secret}',
  'store sessionstore storage adapter backend driver engine type client redisclient connection redisconnection redisurl redisuri url uri connectionstring host hostname redishost port redisport cluster sentinel sentinels redisoptions redispassword redisdb':
    '{redis}',
  'keyprefix redisprefix rediskeyprefix storeprefix namespace cacheprefix': '{prefix}',
  'rolling saveeveryrequest refresheachrequest updateage touchafter refresh sliding slidingexpiration renew': '{touchInterval}: every use extends a session, and 0 stores that with every request',
  disabletouch: '{ touch: false } in config.session of a route',
  'proxy trustproxy': 'trustProxy, an option of Fastify',
  'expireonclose expireatbrowserclose permanent remember rememberme': '{cookie.persistent}',
  'cookieoptions cookieattributes': 'cookie, an object with name, secure, sameSite and so on',
  'securecookie https ssl': '{cookie.secure}',
  'partitionedcookie chips': '{cookie.partitioned}',
  'decorator propertyname requestproperty': '{decoratorName}',
  'user userid userkey': '{userField}',
  'maxsessions maxconcurrentsessions concurrentsessions sessionsperuser sessionlimit': '{maxSessionsPerUser}',
  'rotate rotation rotationinterval regenerateinterval': '{rotateEvery}, in seconds',
  'commandtimeout redistimeout': '{timeout}, in milliseconds'
})

/** Likewise, where there is nothing to be set. */
const NEEDLESS = spread({
  saveuninitialized: 'a session without data is never stored',
  resave: 'only what changed is written',
  'algorithm hmac digest signed usesigner cookieprefix': 'the cookie is always signed, with HMAC-SHA-256',
  'genid idgenerator generateid sessionidgenerator idlength sessionidlength': 'ids and secrets come from the system\'s random source',
  'serializer serialize deserialize parse encode decode stringify': 'fields are kept as JSON',
  'encrypt encryption encrypted': 'the data stay in Redis, none is in the cookie',
  unset: 'request.session = null ends a session'
})

/** A setting that exists: what to call it in the message, and what it goes by. */
export type Known = readonly [shown: string, ...spellings: string[]]

/**
 * What may have been meant by a name that is unknown.
 *
 * @param name as it was given, such as `cookie.maxAge`; a variable without `SESSION_`
 * @param shown what an option is called in this message
 * @returns the rest of a sentence that says "unknown"; empty where nothing comes near
 */
export function hintFor (name: string, known: readonly Known[], shown: (option: string) => string = (option) => option): string {
  const names = [name, name.slice(name.lastIndexOf('.') + 1)].map(simple)
  const [nearest, changes] = nearestOf(names, known)
  // The right name in the wrong group, or in another case, says more than any other library.
  const elsewhere = changes === 0 ? '' : names.map((each) => hereFor(each, known, shown)).find((hint) => hint !== '') ?? ''
  if (elsewhere !== '') return elsewhere
  return isSlip(names.at(-1)!, changes) ? `; did you mean ${nearest}?` : ''
}

/** Which one of several names was meant by one that is none of them; `undefined` where it is no slip of the keyboard. */
export function meantBy (name: string, names: readonly string[]): string | undefined {
  const [nearest, changes] = nearestOf([simple(name)], names.map((one): Known => [one, one]))
  return isSlip(simple(name), changes) ? nearest : undefined
}

function isSlip (name: string, changes: number): boolean {
  return changes <= Math.max(1, name.length / 4)
}

/** What a name of another library is here, where all that takes its place is among what is known. */
function hereFor (name: string, known: readonly Known[], shown: (option: string) => string): string {
  const renamed = RENAMED.get(name)
  if (renamed === undefined) return NEEDLESS.has(name) ? `; leave it out: ${NEEDLESS.get(name)!}` : ''
  const exists = (option: string): boolean => known.some(([name]) => name === shown(option))
  const options = [...renamed.matchAll(/\{([\w.]+)\}/g)].map(([, option]) => option!)
  return options.every(exists) ? `; here that is ${renamed.replace(/\{([\w.]+)\}/g, (_, option: string) => shown(option))}` : ''
}

/** What takes the fewest changes of single characters, and how many. */
function nearestOf (names: readonly string[], known: readonly Known[]): [shown: string, changes: number] {
  let best: [string, number] = ['', Infinity]
  for (const [shown, ...spellings] of known) {
    const changes = Math.min(...spellings.flatMap((spelling) => names.map((name) => distance(name, simple(spelling)))))
    if (changes < best[1]) best = [shown, changes]
  }
  return best
}

function spread (table: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  return new Map(Object.entries(table).flatMap(([names, text]) => names.split(' ').map((name) => [name, text])))
}

function simple (name: string): string {
  return name.replace(/[^A-Za-z0-9]/g, '').toLowerCase()
}

/** How many characters to add, drop, replace or swap with their neighbour (optimal string alignment). */
function distance (a: string, b: string): number {
  let last: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) next[j] = Math.min(next[j]!, last[j - 2]! + 1)
    }
    last = row
    row = next
  }
  return row[b.length]!
}
