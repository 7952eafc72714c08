/**
 * What errors of Redis, of the network and of TLS mean for sessions: what is wrong, and what to do about it. No error's own
 * text is passed on, because ioredis attaches commands with all their arguments, a password among them.
 */

/** Why a Redis cannot be used. */
export interface Trouble {
  /** A word for logs and answers: a code of Redis, of the system or of TLS. */
  reason: string
  /** What is wrong and what to do, with the address that was tried and without credentials. */
  advice: string
  /** Waiting will not help: somebody has to change something. */
  lasting: boolean
}

/**
 * What an error of a connection means.
 *
 * @param error of ioredis or of a socket; `undefined` where a connection just ended, or nothing answered
 * @param place what was tried, as in `redis-place.ts`
 */
export function troubleOf (error: Error | undefined, place: string): Trouble {
  const reason = reasonOf(error)
  const lasting = (advice: string): Trouble => ({ reason, advice, lasting: true })
  const passing = (advice: string): Trouble => ({ reason, advice, lasting: false })
  switch (reason) {
    case 'WRONGPASS':
      return lasting(`${place} refused the user or password (WRONGPASS): correct them. ${ENCODING}`)
    case 'NOAUTH':
      return lasting(`${place} wants a password, and none was given (NOAUTH): write redis://user:password@host, or redis://:password@host where there are no users`)
    case 'NOPERM':
      return lasting(`${missingRight(error!.message, place)}. The README says under "Redis settings" what the user needs`)
    case 'DENIED':
      return lasting(`${place} only takes connections from its own machine (protected-mode): give it a password or a user`)
    case 'READONLY': case 'MASTERDOWN':
      return lasting(`${place} is a replica (${reason}): connect to its master, or by redis+sentinel://`)
    case 'CLUSTERDOWN': return passing(`the Cluster at ${place} is down: look at its CLUSTER INFO and CLUSTER NODES`)
    case 'ERR':
      return troubleOfText(error!.message, place, lasting) ?? passing(`${place} refused the connection`)
    case 'ECONNREFUSED': return passing(`nobody listens at ${place}`)
    case 'ENOTFOUND': return passing(`the host name of ${place} is not known. ${ENCODING}`)
    case 'EAI_AGAIN': return passing(`the name service gave no answer for ${place}`)
    case 'EHOSTUNREACH': case 'ENETUNREACH': return passing(`there is no way to ${place}`)
    case 'ENOENT': return passing(`there is no socket ${place}`)
    case 'EACCES': case 'EPERM': return lasting(`this process may not open ${place} (${reason}): give its user the right to`)
    case 'ECONNRESET': case 'EPIPE': return passing(`${place} closed the connection`)
    case 'ETIMEDOUT': case NO_ANSWER: return passing(`${place} gives no answer`)
    default:
      return troubleOfTls(reason, place, lasting) ?? passing(`${place} is not usable at the moment`)
  }
}

/** What several have in common: the worst of it, and waiting helps where it helps one of them. */
export function commonTrouble (troubles: readonly Trouble[]): Trouble | undefined {
  const worst = troubles.find(({ lasting }) => lasting) ?? troubles[0]
  return worst === undefined ? undefined : { ...worst, lasting: troubles.every(({ lasting }) => lasting) }
}

/** The trouble with `redis://` to one of several nodes: it would answer for its own slots only. */
export function clusterNode (place: string): Trouble {
  return { reason: 'MOVED', lasting: true, advice: `${place} is a node of a Cluster: connect by redis+cluster://${place}, without a database, or pass a Cluster of ioredis` }
}

/** The reason where nothing was said at all. */
export const NO_ANSWER = 'no answer'

/** The reason where a connection ended that had been there. */
export const CLOSED = 'the connection was closed'

/** Said of whatever ends a connection, or does not begin one: what is there may be of another kind. */
const VAGUE: ReadonlySet<string> = new Set([NO_ANSWER, CLOSED, 'ECONNRESET', 'EPIPE', 'EPROTO', 'ETIMEDOUT'])

/** Whether a look at what is there may tell more. */
export function isVague ({ reason, lasting }: Trouble): boolean {
  return !lasting && (VAGUE.has(reason) || reason.startsWith('ERR_SSL_'))
}

/** How to write a password in a URL; most addresses that are nowhere come from one that was not. */
export const ENCODING = 'In a URL, the characters / ? # @ and % of a user or password are written %2F %3F %23 %40 and %25 (encodeURIComponent)'

function missingRight (message: string, place: string): string {
  // Redis up to 7.0, 7.2 and Valkey word it differently; all put the command in quotes.
  const command = /run the '([\w|-]+)' command/.exec(message)?.[1]?.toLowerCase()
  if (command === undefined) return `the user of ${place} may not touch the keys of sessions (NOPERM): allow ~ and the option prefix, then *`
  const instead = command === 'select' ? ', or leave out the database' : ''
  return `the user of ${place} may not run ${command.replace('|', ' ').toUpperCase()} (NOPERM): allow +${command}${instead}`
}

/** What Redis tells with the code `ERR` and a text only. */
function troubleOfText (text: string, place: string, lasting: (advice: string) => Trouble): Trouble | undefined {
  const command = /unknown command ['`]?(\w+)/i.exec(text)?.[1]?.toUpperCase()
  if (command === 'SENTINEL') return lasting(`${place} is no Sentinel: connect to a single Redis by redis://`)
  if (command !== undefined) {
    const what = `${place} does not know the command ${command}, which sessions need: `
    if (command === 'INFO') return lasting(`${what}give it its name back, or pass ioredis options with enableReadyCheck: false`)
    if (command === 'DEL') return lasting(`${what}is it a Sentinel? Then connect by redis+sentinel://${place}/name`)
    return lasting(`${what}it was renamed or switched off there, or this is no complete Redis`)
  }
  if (/No such master/i.test(text)) return lasting(`${place} knows no master of that name, which stands behind the hosts: correct it`)
  if (/cluster support disabled/i.test(text)) return lasting(`${place} is no Cluster: connect by redis://${place}`)
  if (/SELECT is not allowed in cluster mode/i.test(text)) return clusterNode(place)
  if (/DB index/i.test(text)) return lasting(`${place} has no such database: it has as many as its setting databases says, 0 to 15 unless that was changed`)
  if (/max number of clients/i.test(text)) return { reason: 'ERR', lasting: false, advice: `all connections that ${place} allows (maxclients) are taken` }
  return undefined
}

/** Codes of Node.js and OpenSSL. */
function troubleOfTls (code: string, place: string, lasting: (advice: string) => Trouble): Trouble | undefined {
  if (code === 'CERT_HAS_EXPIRED') return lasting(`the certificate of ${place} has expired (${code}): renew it there`)
  if (code === 'CERT_NOT_YET_VALID') return lasting(`the certificate of ${place} is not valid yet (${code}): compare the clocks`)
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return lasting(`the certificate of ${place} is for another host name (${code}): connect by its name, or say it as tls.servername in ioredis options`)
  }
  if (/^(?:SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|CERT_|INVALID_CA|ERROR_IN_CERT)/.test(code)) {
    return lasting(`the certificate of ${place} is not trusted (${code}): name its CA in the variable NODE_EXTRA_CA_CERTS, or as tls.ca in ioredis options`)
  }
  if (/CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE|UNKNOWN_CA/.test(code)) {
    return lasting(`${place} wants a certificate from its clients, or another one (${code}): pass tls.cert and tls.key in ioredis options`)
  }
  if (/^(?:ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code)) return { reason: code, lasting: false, advice: `TLS with ${place} failed (${code})` }
  return undefined
}

/** Whether an error of Redis says that it is a replica, whose data may be old and which takes no writes. */
export function isReadOnly (error: Error): boolean {
  const code = redisCode(error)
  return code === 'READONLY' || code === 'MASTERDOWN'
}

/**
 * The code in an error reply of Redis, which is its first word. Before Redis 7, what a command said inside of a script
 * stood at the end of `ERR Error running script (call to f_…): @user_script: 3: -READONLY You can't write …`.
 *
 * @returns `undefined` where the error is none of Redis
 */
export function redisCode ({ message }: Error): string | undefined {
  return /^ERR Error running script\b.*?: -?([A-Z]{2,32}) /.exec(message)?.[1] ?? /^([A-Z]{2,32})\b/.exec(message)?.[1]
}

/** What went wrong, in a word that holds no credentials. */
export function reasonOf (error: Error | undefined): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? (error === undefined ? undefined : redisCode(error)) ?? NO_ANSWER
}
