import { OptionError } from '../errors.js'
import { RedisStore } from '../store/redis.js'
import type { Store } from '../store/store.js'
import { Migrations, type MigrationContext } from './migration.js'
import { OldRecords } from './old-records.js'
import type { ResolvedMigration } from './options.js'

/**
 * From the option `migrateFrom` to what moves sessions.
 *
 * @param options the old systems whose time has not passed
 * @param connected the store as `connectStore` made it: old records are looked for over its connection
 * @returns `undefined` where there are no old systems
 * @throws OptionError (`SESSION_OPTION_INVALID`) where the store is not Redis
 */
export function connectMigrations (options: readonly ResolvedMigration[], connected: Store, context: Omit<MigrationContext, 'records'>): Migrations | undefined {
  if (options.length === 0) return undefined
  if (!(connected instanceof RedisStore)) throw new OptionError('migrateFrom', 'needs the sessions to be in the Redis where the old ones are')
  // The old texts have names, quotes and a cookie around the data; what is much larger than a record could never fit.
  return new Migrations(options, { ...context, records: new OldRecords(connected.transport, 2 * context.rules.maxRecordSize + 4096) })
}
