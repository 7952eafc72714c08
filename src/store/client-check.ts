/**
 * What the options of an ioredis client mean for sessions: some make a promise of this plugin false and are refused, some
 * only make it recover later and are named in the log. Whatever else a client's options say is all right: nothing waits in
 * its offline queue, and what it sends again after a lost answer does nothing (`RedisTransport`).
 */
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { OptionError } from '../errors.js'
import { databaseOf } from './connection-check.js'

/**
 * Checks a client before it is used.
 *
 * @param given the application made it, so it does not recover the way those do that the plugin opens
 * @returns warnings for the log
 * @throws OptionError (`SESSION_OPTION_INVALID`), which says what to change
 */
export function checkClient (client: Redis | Cluster, given: boolean): string[] {
  const problem = client.isCluster ? clusterProblem(client as Cluster) : clientProblem(client as Redis)
  if (problem !== undefined) throw new OptionError('redis (SESSION_REDIS)', problem)
  const options = nodeOptions(client)
  const warnings: string[] = []
  if (client.options.keyPrefix !== undefined && client.options.keyPrefix !== '') {
    warnings.push('the keyPrefix of the Redis client is not added to the keys of sessions: use the option prefix')
  }
  if (!given) return warnings
  if (!client.isCluster && databaseOf(client as Redis) !== (options.db ?? 0)) {
    warnings.push('the Redis client was switched to another database by select(): give it the option db instead, or the process ends where Redis refuses that after a reconnection')
  }
  if (!client.isCluster && options.sentinels != null) {
    warnings.push('a Sentinel client of ioredis 6.0.0 may give up for good after a failover: let it connect again on its event end, or pass a redis+sentinel:// URL')
  }
  if (options.reconnectOnError == null && !client.isCluster) {
    warnings.push('the Redis client goes without reconnectOnError (a server that became a replica is never left), so sessions may stay away for longer than Redis does')
  }
  return warnings
}

function nodeOptions (client: Redis | Cluster): RedisOptions {
  return (client.isCluster ? (client as Cluster).options.redisOptions ?? {} : client.options) as RedisOptions
}

function clientProblem (client: Redis): string | undefined {
  const { options } = client
  if (client.mode !== 'normal') return `this connection is in ${client.mode} mode and takes no other commands: pass another one`
  if (client.status === 'end') return 'this client is closed and will not connect again'
  if (options.db != null && !(Number.isInteger(options.db) && options.db >= 0)) return 'the option db of the client has to be a whole number from 0'
  if (options.stringNumbers === true) return 'stringNumbers of the client turns what scripts answer into texts: pass a client without it'
  if (options.role === 'slave' || options.readOnly === true) return 'this client connects to replicas, whose data may be old: pass one that connects to the master'
  if (options.sentinels != null && options.failoverDetector !== true) {
    return 'without failoverDetector: true this client goes on writing to the old master for seconds after a failover, and those writes are lost'
  }
  return undefined
}

function clusterProblem (cluster: Cluster): string | undefined {
  const { clusterNodeRetryStrategy } = cluster.options
  const { stringNumbers, maxRetriesPerRequest, db } = nodeOptions(cluster)
  if (cluster.status === 'end') return 'this client is closed and will not connect again'
  if (db != null && db !== 0) return 'a Cluster has no databases: leave out redisOptions.db'
  if (stringNumbers === true) return 'stringNumbers of the client turns what scripts answer into texts: pass a client without it'
  if (typeof clusterNodeRetryStrategy === 'function' && maxRetriesPerRequest !== 0) {
    return 'with clusterNodeRetryStrategy, nodes send commands again whose answer was lost, and increments count twice: set redisOptions.maxRetriesPerRequest: 0'
  }
  return undefined
}
