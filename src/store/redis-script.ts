/**
 * What a script is, and the pieces that several scripts are made of.
 */
import { createHash } from 'node:crypto'
import * as record from './record.js'

/** A script and the SHA-1 by which Redis knows it. */
export interface Script { readonly text: string, readonly sha: string }

/** A script of this text. */
export function script (text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** now: milliseconds since 1970 by the clock of this Redis. tostring() would round it, hence ms(). */
export const CLOCK = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function ms(number) return string.format('%.0f', number) end
`

/** Whether a ticket is among those whose writes shall not happen any more. */
export const BARRED = `
local function barred(text, ticket)
  for one, till in string.gmatch(text or '', '(%S+) (%d+)') do
    if one == ticket and tonumber(till) > now then return true end
  end
  return false
end
`

/** Whether a record can be created: there is nothing, or nothing but bars, which then are in force for it. */
export const FREE = `
local function free(key)
  if redis.call('EXISTS', key) == 0 then return true end
  return redis.pcall('HLEN', key) == 1 and redis.call('HEXISTS', key, '${record.BARRED}') == 1
end
`

/**
 * Tells subscribers of an end; on a Cluster, whatever node they are connected to. A user of Redis that may not publish can
 * end sessions all the same.
 */
export const TELL = `
local function tell(key, reason)
  redis.pcall('PUBLISH', string.sub(key, 1, -23) .. '${record.ENDED_CHANNEL}', string.sub(key, -22) .. ' ' .. reason)
end
`

/**
 * What a step leaves behind so that it can be undone: its mark, when the record would have expired, and the whole record,
 * by MessagePack, because texts may be any bytes. An earlier step that is not decided yet is one of its fields.
 */
export const UNDO = `
local function undo(mark, ttl, fields) return cmsgpack.pack(mark, now + ttl, fields) end
`
