/**
 * The scripts of a user's list, and those by which its records are ended. One key per script here, too: the list's, or a
 * record's. The order in which they are called is the business of src/users/user-index.ts.
 *
 * A list is one sorted set. A member `id:random:time` is an entry: `random:time` is its ticket, `time` when it was made; its
 * score is when its record will have ended for certain. Negative scores are facts about the list: `@since`, when it began,
 * and `@ended:<id>`, when all sessions but that one were ended. All times are milliseconds by the clock of this Redis.
 */
import * as record from './record.js'
import { BARRED, CLOCK, FREE, script, TELL } from './redis-script.js'

/** How long a ticket stays barred, milliseconds: longer than any write that carries it can be under way. */
const BARRED_FOR = 60_000

/** Drops what has passed, and reads the facts: when the list began, and whose end was told, when. */
const LIST = CLOCK + `
local key = KEYS[1]
redis.call('ZREMRANGEBYSCORE', key, '(0', ms(now))
local since, ended, survivor, mark
local facts = redis.call('ZRANGEBYSCORE', key, '-inf', '(0', 'WITHSCORES')
for i = 1, #facts, 2 do
  if facts[i] == '@since' then since = -facts[i + 1]
  else ended, survivor, mark = -facts[i + 1], string.sub(facts[i], 8), facts[i] end
end
-- The list outlives all of its records, and by 'keep' what it says about others.
local function keep(milliseconds)
  local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  local left = math.max(tonumber(last[2] or 0) - now, tonumber(milliseconds), redis.call('PTTL', key), 1)
  redis.call('PEXPIRE', key, ms(math.min(left, ${record.MAX_TTL})))
end
`

/**
 * ARGV: id, ticket (announced again) or random text (new), '1' if it is announced again, lasts, keep, since ('' for a new
 * one), max (0: no limit), what then ('ask', 'refuse', 'end-oldest'), ids that do not count, separated by spaces.
 * Answers outcome, ticket, clock, members.
 */
export const announceScript = script(LIST + `
local id, ticket, again = ARGV[1], ARGV[2], ARGV[3] == '1'
if not again then ticket = ticket .. ':' .. ms(now) end
local member = id .. ':' .. ticket
local began = tonumber(ARGV[6]) or (again and tonumber(string.match(ticket, ':(%d+)$')))
local listed = again and redis.call('ZSCORE', key, member)
if ended and began and began <= ended and id ~= survivor and not listed then return {'ended', ticket, ms(now)} end

local out = {}
local max = tonumber(ARGV[7])
if max > 0 and redis.call('ZCARD', key) >= max then
  -- Sessions, not entries: a session that is just becoming its user's once more has two. Its age is that of its latest.
  local ages, ids, replaced = {}, {}, {}
  for other in string.gmatch(ARGV[9], '%S+') do replaced[other] = true end
  local members = redis.call('ZRANGEBYSCORE', key, '(0', '+inf')
  for _, other in ipairs(members) do
    local other_id, made = string.match(other, '^([^:]+):[^:]+:(%d+)$')
    if other_id and other_id ~= id and not replaced[other_id] then
      if not ages[other_id] then ids[#ids + 1] = other_id end
      ages[other_id] = math.max(ages[other_id] or 0, tonumber(made))
    end
  end
  if #ids >= max then
    table.sort(ids, function(a, b) return ages[a] < ages[b] or ages[a] == ages[b] and a < b end)
    local leaving = {}
    for i = 1, ARGV[8] == 'end-oldest' and #ids - max + 1 or #ids do leaving[ids[i]] = true end
    for _, other in ipairs(members) do
      if leaving[string.match(other, '^[^:]+')] then out[#out + 1] = other end
    end
    if ARGV[8] ~= 'end-oldest' then return {'full', ticket, ms(now), unpack(out, 1, 1000)} end
  end
end

if not since then redis.call('ZADD', key, ms(-now), '@since') end
redis.call('ZADD', key, ms(math.max(now + ARGV[4], tonumber(listed or 0))), member)
keep(ARGV[5])
return {'entered', ticket, ms(now), unpack(out, 1, 1000)}
`)

/** ARGV: members. */
export const leaveScript = script(`
for first = 1, #ARGV, 1000 do redis.call('ZREM', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV))) end
return 1
`)

/** ARGV: nothing; or keep, and the id that goes on ('' for none): all others end now. Answers clock, since ('' for no list), members. */
export const entriesScript = script(LIST + `
if ARGV[1] then
  -- The old note goes last: without any member the key would lose its expiry, and with it what earlier callers asked for.
  redis.call('ZADD', key, ms(-math.max(now, ended or 0)), '@ended:' .. ARGV[2])
  if mark and mark ~= '@ended:' .. ARGV[2] then redis.call('ZREM', key, mark) end
  keep(ARGV[1])
end
return {ms(now), since and ms(since) or '', redis.call('ZRANGEBYSCORE', key, '(0', '+inf')}
`)

/**
 * ARGV: nothing, or a ticket that the record has to carry; where it does not, the ticket is barred, and bars that no write
 * can meet any more are dropped. Answers 1 where there was a record to end.
 */
export const endScript = script(CLOCK + TELL + FREE + `
local key, ticket = KEYS[1], ARGV[1]
local head = redis.call('HMGET', key, '${record.DIGEST}', '${record.TICKET}', '${record.BARRED}', '${record.UNDO}')
-- What was retired could be taken back.
local record = head[1] or head[4]
if record and (not ticket or head[2] == ticket) then
  redis.call('DEL', key)
  tell(key, 'ended')
  return 1
end
-- What else may be there is nobody's to change.
if not ticket or not (record or free(key)) then return 0 end
local bars = ticket .. ' ' .. ms(now + ${BARRED_FOR})
for one, till in string.gmatch(head[3] or '', '(%S+) (%d+)') do
  if one ~= ticket and tonumber(till) > now then bars = bars .. ' ' .. one .. ' ' .. till end
end
redis.call('HSET', key, '${record.BARRED}', bars)
if not record then redis.call('PEXPIRE', key, ${BARRED_FOR}) end
return 0
`)

/**
 * Creates a record that is a user's, or elevated, from the beginning. ARGV: deadline, milliseconds to live, digest, idle timeout
 * (seconds), user and ticket ('' for nobody's), when authenticated ('' for now; an elevation is an authentication, whatever was
 * before), seconds of elevation ('' for none), further fields. Answers nothing where the record exists, 'barred', or the clock.
 */
export const createForUserScript = script(CLOCK + BARRED + FREE + `
if now > tonumber(ARGV[1]) then return 'late ' .. ms(now) end
if not free(KEYS[1]) then return false end
if barred(redis.call('HGET', KEYS[1], '${record.BARRED}'), ARGV[6]) then return 'barred ' .. ms(now) end
local fields = {'${record.CREATED_AT}', ms(now), '${record.LAST_ACCESSED_AT}', ms(now), '${record.SESSION_TTL}', ARGV[4],
  '${record.DIGEST}', ARGV[3], '${record.AUTHENTICATED}', (ARGV[7] == '' or ARGV[8] ~= '') and ms(now) or ARGV[7]}
local function add(name, text)
  fields[#fields + 1] = name
  fields[#fields + 1] = text
end
if ARGV[5] ~= '' then
  add('${record.USER}', ARGV[5])
  add('${record.TICKET}', ARGV[6])
end
if ARGV[8] ~= '' then add('${record.ELEVATED}', ms(now + math.ceil(ARGV[8] * 1000))) end
redis.call('HSET', KEYS[1], unpack(fields))
-- unpack() takes a few thousand values at most.
for first = 9, #ARGV, 1000 do redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV))) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'ok ' .. ms(now) .. ' ' .. ARGV[2]
`)

/** Answers nothing, or clock, milliseconds left, and the metadata that describe a session. */
export const describeScript = script(CLOCK + `
local facts = redis.call('HMGET', KEYS[1], '${record.DIGEST}', '${record.CREATED_AT}', '${record.LAST_ACCESSED_AT}', '${record.USER}',
  '${record.TICKET}', '${record.AUTHENTICATED}', '${record.DEVICE}', '${record.NETWORK}')
if not facts[1] then return false end
return {ms(now), redis.call('PTTL', KEYS[1]), unpack(facts, 2, 8)}
`)
