/** The address of a Redis as it may be shown. */

/** One server: a host, and the number of a port. What stands for a port and is no number may be a password without its host. */
const SERVER = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i

/**
 * A Redis URL without what nobody else shall see. It is put together from the parts that are known to hold no password,
 * because one that was written carelessly may begin or end anywhere: in the user part, in the query, in the place of a host
 * that was forgotten, or, with a raw slash in it, in what looks like the path.
 *
 * @param url as `--redis` or `SESSION_REDIS` have it
 * @returns scheme, hosts, and the number of the database, the name of the master or the path of the socket; `undefined`
 *   where it cannot be told which part is which
 */
export function shownAddress (url: string): string | undefined {
  const [, scheme, authority = '', path = '', rest = ''] = /^([a-z]+(?:\+[a-z]+)*):\/\/([^/?#]*)(\/[^?#]*)?(.*)$/is.exec(url) ?? []
  if (scheme === undefined || `${path}${rest}`.includes('@')) return undefined
  const hosts = authority.slice(authority.lastIndexOf('@') + 1)
  if (hosts === '') return /^\/[\w./-]+$/.test(path) ? `${scheme}://${path}` : undefined
  if (!hosts.split(',').every((server) => SERVER.test(server))) return undefined
  const behind = /sentinel$/i.test(scheme) ? /^\/[\w.-]{1,64}$/ : /^\/\d{1,9}$/
  return `${scheme}://${hosts}${behind.test(path) ? path : ''}`
}
