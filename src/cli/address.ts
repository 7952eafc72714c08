/** The address of a Redis as it may be shown. */

/**
 * A Redis URL without what nobody else shall see. It is put together from the parts that are known to hold no password,
 * because one that was written carelessly may begin or end anywhere: in the user part, in the query (which ioredis reads), or,
 * with a raw slash in it, in what looks like the path.
 *
 * @param url as `--redis` or `SESSION_REDIS` have it
 * @returns scheme, hosts, and the number of the database, the name of the master or the path of the socket; `undefined`
 *   where it cannot be told which part is which
 */
export function shownAddress (url: string): string | undefined {
  const [, scheme, authority = '', path = '', rest = ''] = /^([a-z]+(?:\+[a-z]+)*):\/\/([^/?#]*)(\/[^?#]*)?(.*)$/is.exec(url) ?? []
  if (scheme === undefined || `${path}${rest}`.includes('@')) return undefined
  const hosts = authority.slice(authority.lastIndexOf('@') + 1)
  if (!/^[\w.:,[\]%-]*$/.test(hosts)) return undefined
  // A number or a name; without a host in front of it, a socket's path.
  const shown = (hosts === '' ? /^\/[\w./-]+$/ : /^\/[\w.-]{1,64}$/).test(path) ? path : ''
  return hosts === '' && shown === '' ? undefined : `${scheme}://${hosts}${shown}`
}
