/**
 * The scripts that run inside Redis. Each works on one key, decides everything before its first write (a script that
 * fails midway keeps what it wrote), and takes all data as arguments. Only the plugin's own numeric rules are part of
 * the text, so that they need not travel with every command.
 *
 * Redis documentation: https://redis.io/docs/latest/develop/programmability/eval-intro/ and
 * https://redis.io/docs/latest/develop/programmability/lua-api/ (cmsgpack, error replies).
 */
import * as record from './record.js'
import { BARRED, CLOCK, FREE, script, TELL, UNDO, type Script } from './redis-script.js'
import type { Rules } from './store.js'

/** The scripts that depend on a plugin instance's rules. */
export interface RuledScripts { readonly load: Script, readonly save: Script, readonly operate: Script }

/** How a script says that the key holds a hash that is no session record. */
export const NOT_A_RECORD = 'NOTASESSION'

/**
 * The scripts for a plugin instance's rules.
 *
 * @param rules numbers only; they become constants of the scripts
 */
export function scriptsFor (rules: Rules): RuledScripts {
  const prelude = constants(rules)
  return {
    load: script(prelude + LOAD),
    save: script(prelude + SAVE),
    operate: script(prelude + CLOCK + EXPIRY + DECIMAL + BARRED + OPERATE)
  }
}

function constants (rules: Rules): string {
  return Object.entries({
    IDLE_TIMEOUT: rules.idleTimeout,
    TOUCH_INTERVAL: rules.touchInterval,
    LIFETIME: rules.lifetime,
    ROTATE_EVERY: rules.rotateEvery,
    ROTATE_GRACE: rules.rotateGrace,
    MAX_FIELDS: rules.maxFields,
    MAX_RECORD_SIZE: rules.maxRecordSize,
    USERS: rules.users === true ? 1 : 0
  }).map(([name, value]) => `local ${name} = ${Number(value)}\n`).join('')
}

/**
 * Milliseconds of a record's own idle timeout and of what is left of its lifetime, and the extension that follows:
 * never beyond the lifetime, and beyond the idle timeout by the touch interval, so that the next requests need not write.
 * What a record is to last is made whole, and what Redis takes, as in record.ts.
 */
const EXPIRY = `
local function idle_timeout(record) return tonumber(record['${record.SESSION_TTL}']) * 1000 end
local function lifetime_left(record)
  local own = tonumber(record['${record.LIFETIME}'])
  return tonumber(record['${record.CREATED_AT}']) + (own and own * 1000 or LIFETIME) - now
end
local function lasting(ttl) return math.max(0, math.min(math.ceil(ttl), ${record.MAX_TTL})) end
local function extension(record)
  local idle = idle_timeout(record)
  local slack = math.min(TOUCH_INTERVAL, idle * TOUCH_INTERVAL / IDLE_TIMEOUT)
  return lasting(math.min(idle + slack, lifetime_left(record)))
end
-- tonumber() also takes 'nan' and 'inf', with which no comparison means what it says.
local function finite(text)
  local number = tonumber(text)
  return number and number > -math.huge and number < math.huge
end
local function sane(record)
  return finite(record['${record.SESSION_TTL}']) and finite(record['${record.CREATED_AT}'])
end
local function expire(key, ttl) redis.call('PEXPIRE', key, ms(ttl)) end
-- PEXPIRE ends a record whose time is over, before Redis 7.2 also one whose time passes just then: HSET would leave a key for
-- ever. It comes first because Redis refuses a script's first write if it may grow a full memory, and no extension is worth a 503.
local function extend(key, ttl)
  expire(key, ttl)
  if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, '${record.LAST_ACCESSED_AT}', ms(now)) end
end
`

/**
 * ARGV: digest, flags ('t' to extend the expiry where due, 'c' to tell the clock). Answers nothing, or standing, touched (2: a user's
 * record, whose extension is due but has to be announced first), clock (0: not told), milliseconds left and all fields as ONE string (MessagePack): a client parses one string several times
 * faster than an array of many.
 *
 * Nearly every load finds its own digest and nothing to do. That case leaves early: every function, table and command
 * of the rest would cost all of them time. In a compact hash the metadata stand where CREATE put them; in a large one
 * they have to be looked for.
 */
const LOAD = `
local key, presented, flags = KEYS[1], ARGV[1], ARGV[2]
local fields = redis.call('HGETALL', key)
local count = #fields
if count == 0 then return false end
local owner, idle, created, renewing
if fields[1] == '${record.CREATED_AT}' and fields[5] == '${record.SESSION_TTL}' and fields[7] == '${record.DIGEST}' then
  created, idle, owner = tonumber(fields[2]), tonumber(fields[6]), fields[8]
  for i = 9, count, 2 do if fields[i] == '${record.NEXT}' then renewing = true end end
else
  for i = 1, count, 2 do
    local name = fields[i]
    if name == '${record.DIGEST}' then owner = fields[i + 1]
    elseif name == '${record.SESSION_TTL}' then idle = tonumber(fields[i + 1])
    elseif name == '${record.CREATED_AT}' then created = tonumber(fields[i + 1])
    elseif name == '${record.NEXT}' then renewing = true end
  end
end
local ttl = redis.call('PTTL', key)
if presented == owner and ROTATE_EVERY == 0 and not renewing and idle and created and (flags == 't' and ttl >= idle * 1000 or flags == '') then
  return cmsgpack.pack('current', USERS == 1 and ttl < idle * 1000 and 2 or 0, 0, ttl, fields)
end
` + CLOCK + EXPIRY + TELL + `
local record = {}
for i = 1, count, 2 do record[fields[i]] = fields[i + 1] end

local standing
if presented == owner then
  standing = 'current'
  if renewing then
    standing = 'superseded'
  elseif ROTATE_EVERY > 0 then
    local since = math.max(tonumber(record['${record.CREATED_AT}']) or 0, tonumber(record['${record.RENEWED}']) or 0,
      tonumber(record['${record.ROTATED}']) or 0)
    if now - since >= ROTATE_EVERY then standing = 'due' end
  end
elseif presented == record['${record.NEXT}'] then
  standing = 'current'
elseif record['${record.PREVIOUS}'] then
  if presented == record['${record.PREVIOUS}'] then
    standing = now <= (tonumber(record['${record.PREVIOUS_UNTIL}']) or 0) and 'superseded' or 'reused'
  elseif not record['${record.ROTATED}'] then
    -- Only this plugin can have signed the token, and no rotate() explains it: a secret renewed away long ago.
    standing = 'reused'
  end
end
if not standing then return false end
if not sane(record) then return redis.error_reply('${NOT_A_RECORD} metadata is missing') end

local touched = 0
if standing == 'reused' then
  redis.call('DEL', key)
  tell(key, 'reused')
else
  if presented == record['${record.NEXT}'] then
    -- A renewal is not worth a 503 either, so HDEL comes first.
    redis.call('HDEL', key, '${record.NEXT}')
    redis.call('HSET', key, '${record.PREVIOUS}', record['${record.DIGEST}'], '${record.PREVIOUS_UNTIL}', ms(now + ROTATE_GRACE),
      '${record.LINEAGE}', record['${record.LINEAGE}'] or record['${record.DIGEST}'], '${record.DIGEST}', presented, '${record.RENEWED}', ms(now))
  end
  if USERS == 1 and record['${record.USER}'] then
    if ttl < idle_timeout(record) then touched = 2 end
  elseif string.find(flags, 't', 1, true) and ttl < idle_timeout(record) then
    local extended = extension(record)
    if extended > ttl then
      ttl = extended
      extend(key, ttl)
      touched = 1
    end
  end
end
return cmsgpack.pack(standing, touched, now, ttl, fields)
`

/** The guard of everything but load: there is a record that is in use, and it is of this lineage. */
const OWNED = `
local function owned(lineage, digest, own)
  return digest and lineage == (own or digest)
end
`

/** What says who owns a record, as arguments of a command. */
const SECRETS = [record.DIGEST, record.LINEAGE, record.NEXT, record.SEALED, record.PREVIOUS, record.PREVIOUS_UNTIL].map((name) => `'${name}'`).join(', ')

/**
 * Exact decimal addition, the same as decimal.ts: coefficient and count of decimals, refused beyond 2^53-1.
 */
const DECIMAL = `
local EXACT = 9007199254740991
local function scale(coefficient, digits)
  if coefficient == 0 then return 0 end
  if digits > 16 then return nil end
  local scaled = coefficient * 10 ^ digits
  return math.abs(scaled) <= EXACT and scaled or nil
end
local function parse(text)
  local sign, rest = string.match(text, '^(%-?)(.*)$')
  local mantissa, exponent = string.match(rest, '^([%d%.]+)[eE]([%+%-]?%d+)$')
  if exponent then
    if #string.gsub(exponent, '[%+%-]', '') > 3 then return nil end
  else
    mantissa, exponent = rest, '0'
  end
  local whole, fraction = string.match(mantissa, '^(%d+)%.(%d+)$')
  if not whole then whole, fraction = string.match(mantissa, '^%d+$'), '' end
  if not whole or (#whole > 1 and string.sub(whole, 1, 1) == '0') then return nil end
  local digits = string.gsub(whole .. fraction, '^0+', '')
  local decimals = #fraction - tonumber(exponent)
  local stripped = string.gsub(digits, '0+$', '')
  decimals = decimals - (#digits - #stripped)
  if stripped == '' then return 0, 0 end
  if #stripped > 16 then return 'range' end
  local coefficient = tonumber(stripped)
  if decimals < 0 then
    coefficient = scale(coefficient, -decimals)
    decimals = 0
  end
  if not coefficient or coefficient > EXACT then return 'range' end
  return sign == '-' and -coefficient or coefficient, decimals
end
local function add(text, by)
  local a, a_decimals = parse(text)
  local b, b_decimals = parse(by)
  if a == nil or b == nil then return nil, 'not-a-number' end
  if a == 'range' or b == 'range' then return nil, 'range' end
  local decimals = math.max(a_decimals, b_decimals)
  a, b = scale(a, decimals - a_decimals), scale(b, decimals - b_decimals)
  if not a or not b or math.abs(a + b) > EXACT then return nil, 'range' end
  local sum = a + b
  if sum == 0 then return '0' end
  local digits = ms(math.abs(sum))
  local sign = sum < 0 and '-' or ''
  if decimals == 0 then return sign .. digits end
  digits = string.rep('0', decimals + 1 - #digits) .. digits
  local fraction = string.gsub(string.sub(digits, -decimals), '0+$', '')
  return sign .. string.sub(digits, 1, -decimals - 1) .. (fraction == '' and '' or '.' .. fraction)
end
`

/**
 * ARGV: deadline (ms by this Redis' clock; a command that arrives later was given up by its sender and does nothing),
 * milliseconds to live, digest, idle timeout (seconds), further fields. Answers nothing where the key exists, or the clock.
 */
export const createScript = script(FREE + `
local time = redis.call('TIME')
local now = string.format('%s%03d', time[1], math.floor(time[2] / 1000))
if tonumber(now) > tonumber(ARGV[1]) then return 'late ' .. now end
if not free(KEYS[1]) then return false end
-- Metadata first, so that HGETALL reads like a sentence.
redis.call('HSET', KEYS[1], '${record.CREATED_AT}', now, '${record.LAST_ACCESSED_AT}', now, '${record.SESSION_TTL}', ARGV[4],
  '${record.DIGEST}', ARGV[3], unpack(ARGV, 5))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'ok ' .. now .. ' ' .. ARGV[2]
`)

/**
 * The usual save: fields are set, in a record that has room and need not be extended. Whatever is less simple is left to
 * OPERATE, by answering 'retry' before anything happened. MEMORY USAGE costs next to nothing and tells at once that there
 * is room: the compact encoding keeps a number in no less than half the bytes of its text, and everything else in more.
 *
 * ARGV: deadline, lineage, '1' if the expiry is to be extended where due, bytes that are added at most, names and texts.
 */
const SAVE = `
local key = KEYS[1]
local time = redis.call('TIME')
local now = string.format('%s%03d', time[1], math.floor(time[2] / 1000))
if tonumber(now) > tonumber(ARGV[1]) then return 'late ' .. now end
local head = redis.call('HMGET', key, '${record.DIGEST}', '${record.SESSION_TTL}', '${record.CREATED_AT}', '${record.LINEAGE}')
local idle = tonumber(head[2] or '')
if (head[4] or head[1]) ~= ARGV[2] or not idle or not tonumber(head[3] or '') then return 'retry' end
local ttl = redis.call('PTTL', key)
if ttl < 0 or (ARGV[3] == '1' and ttl < idle * 1000) then return 'retry' end
local usage = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
if type(usage) ~= 'number' or 2 * usage + ARGV[4] > MAX_RECORD_SIZE then return 'retry' end
-- At least four of the fields are metadata.
if redis.call('HLEN', key) - 4 + (#ARGV - 4) / 2 > MAX_FIELDS then return 'retry' end
redis.call('HSET', key, unpack(ARGV, 5))
return 'ok ' .. now .. ' ' .. string.format('%.0f', ttl)
`

/**
 * Any write. ARGV: deadline, lineage, flags ('t' together or 'a' apart; touch 'd' due, 'a' always, 'n' never), settings (''
 * or 'idle lifetime persistent digest', '-' for unchanged), operations (letter and its arguments), and then, by capitals, whose
 * the session becomes, the announced ticket, seconds of elevation. The operations run on
 * a table; what they changed is written at the end with one HSET and one HDEL.
 */
const OPERATE = OWNED + UNDO + `
local key, lineage, flags = KEYS[1], ARGV[2], ARGV[3]
local together = string.sub(flags, 1, 1) == 't'
local touch = string.sub(flags, 2, 2)
if now > tonumber(ARGV[1]) then return {'late', ms(now)} end

local record, count, size = {}, 0, 0
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  local name, text = fields[i], fields[i + 1]
  record[name] = text
  if string.byte(name) ~= 64 and name ~= '${record.CREATED_AT}' and name ~= '${record.LAST_ACCESSED_AT}' and name ~= '${record.SESSION_TTL}' then
    count = count + 1
    size = size + #name + #text
  end
end
if not owned(lineage, record['${record.DIGEST}'], record['${record.LINEAGE}']) then return false end
if not sane(record) then return redis.error_reply('${NOT_A_RECORD} metadata is missing') end

-- Which names changed, in the order of their first change: HGETALL then shows fields as they were written.
local changed, order = {}, {}
local function change(name)
  if not changed[name] then
    changed[name] = true
    order[#order + 1] = name
  end
end
local function put(name, text)
  local old = record[name]
  if not old and count >= MAX_FIELDS then return 'fields' end
  local growth = #text + (old and -#old or #name)
  if growth > 0 and size + growth > MAX_RECORD_SIZE then return 'size' end
  if not old then count = count + 1 end
  size = size + growth
  record[name] = text
  change(name)
end
local function remove(name)
  local old = record[name]
  if not old then return false end
  count = count - 1
  size = size - #name - #old
  record[name] = nil
  change(name)
  return old
end

local results, arg = {}, 5
local binding, announced, elevation
while arg <= #ARGV do
  local operation, name = ARGV[arg], ARGV[arg + 1]
  local result, refused
  if operation == 's' then
    refused = put(name, ARGV[arg + 2])
    result = 1
    arg = arg + 3
  elseif operation == 'd' then
    result = remove(name) and 1 or 0
    arg = arg + 2
  elseif operation == 'g' then
    result = record[name] or false
    arg = arg + 2
  elseif operation == 'n' then
    if record[name] then
      result = 0
    else
      refused = put(name, ARGV[arg + 2])
      result = 1
    end
    arg = arg + 3
  elseif operation == 'i' then
    local sum, problem = add(record[name] or '0', ARGV[arg + 2])
    if sum and (tonumber(sum) < tonumber(ARGV[arg + 3]) or tonumber(sum) > tonumber(ARGV[arg + 4])) then problem = 'range' end
    refused = problem or put(name, sum)
    result = sum
    arg = arg + 5
  elseif operation == 't' then
    result = remove(name)
    arg = arg + 2
  elseif operation == 'r' then
    -- expected and new text carry a leading '+'; a lone '-' stands for absence.
    local expected, text = ARGV[arg + 2], ARGV[arg + 3]
    local current = record[name] and '+' .. record[name] or '-'
    if current ~= expected then
      result = {0, record[name] or false}
    else
      if text == '-' then remove(name) else refused = put(name, string.sub(text, 2)) end
      result = {1, record[name] or false}
    end
    arg = arg + 4
  elseif operation == 'c' then
    for field in pairs(record) do
      if string.byte(field) ~= 64 and field ~= '${record.CREATED_AT}' and field ~= '${record.LAST_ACCESSED_AT}' and field ~= '${record.SESSION_TTL}' then
        change(field)
        record[field] = nil
      end
    end
    count, size, result = 0, 0, 1
    arg = arg + 1
  elseif operation == 'U' then
    -- Whose the session becomes: user, ticket, '1' if that is the record's, when authenticated, device, network
    -- ('' for none), and the deciding fields.
    binding = {user = ARGV[arg + 1], ticket = ARGV[arg + 2], kept = ARGV[arg + 3] == '1', since = ARGV[arg + 4],
      device = ARGV[arg + 5], network = ARGV[arg + 6], first = arg + 8}
    arg = arg + 8 + 2 * ARGV[arg + 7]
    binding.last = arg - 1
  elseif operation == 'A' then
    announced = ARGV[arg + 1]
    arg = arg + 2
  elseif operation == 'E' then
    elevation = tonumber(ARGV[arg + 1])
    arg = arg + 2
  else
    return redis.error_reply('ERR unknown session operation')
  end
  if refused then
    if together then return {'refused', ms(now), '0', refused, name} end
    result = {'refused', refused}
  end
  -- What begins with a capital is no operation of the caller's and has no result.
  if string.byte(operation) > 96 then results[#results + 1] = result end
end

local owner, ticket = record['${record.USER}'], record['${record.TICKET}']
local before = {}
local function moved()
  local answer = {'moved', ms(now), '0', owner or false, ticket or false}
  for i = binding and binding.first or 1, binding and binding.last or 0, 2 do answer[#answer + 1] = before[ARGV[i]] or false end
  return answer
end
local left = false
local binds = binding
if binding then
  for i = 1, #fields, 2 do before[fields[i]] = fields[i + 1] end
  local fits, touched = true, false
  for i = binding.first, binding.last, 2 do
    local name = ARGV[i]
    if (record[name] and '+' .. record[name] or '-') ~= ARGV[i + 1] then fits = false end
    if record[name] ~= before[name] then touched = true end
  end
  if not fits then
    if touched then return moved() end
    binds = false
  elseif binding.kept and (owner ~= binding.user or ticket ~= binding.ticket) then
    return moved()
  elseif barred(record['${record.BARRED}'], binding.ticket) then
    return {'barred', ms(now), '0'}
  end
end
-- No record of a user's outlives what was announced for it.
local held = binds and binding.ticket or not binds and ticket or ''
local unannounced = USERS == 1 and held ~= '' and announced ~= held
if unannounced and (touch == 'a' or ARGV[4] ~= '' and string.sub(ARGV[4], 1, 4) ~= '- - ') then return moved() end

local set, unset = {}, {}
for _, name in ipairs(order) do
  if record[name] then
    set[#set + 1] = name
    set[#set + 1] = record[name]
  else
    unset[#unset + 1] = name
  end
end
local function meta(name, text)
  record[name] = text
  set[#set + 1] = name
  set[#set + 1] = text
end

if binds then
  local function keep(name, text)
    if text ~= '' then meta(name, text) else unset[#unset + 1] = name; record[name] = nil end
  end
  left = {owner or false, ticket or false}
  if (owner or '') ~= binding.user then
    if not elevation then
      keep('${record.AUTHENTICATED}', binding.user == '' and '' or binding.since ~= '' and binding.since or ms(now))
      keep('${record.ELEVATED}', '')
    end
    keep('${record.DEVICE}', binding.user == '' and '' or binding.device)
    keep('${record.NETWORK}', binding.user == '' and '' or binding.network)
  end
  keep('${record.USER}', binding.user)
  keep('${record.TICKET}', binding.ticket)
end
if elevation then
  meta('${record.AUTHENTICATED}', ms(now))
  meta('${record.ELEVATED}', ms(now + math.ceil(elevation * 1000)))
end

local ttl = redis.call('PTTL', key)
local renewed = false
local idle, lifetime, persistent, successor
if ARGV[4] ~= '' then
  idle, lifetime, persistent, successor = string.match(ARGV[4], '^(%S+) (%S+) (%S+) (%S+)$')
  if idle ~= '-' then meta('${record.SESSION_TTL}', idle); renewed = true end
  if lifetime ~= '-' then meta('${record.LIFETIME}', lifetime); renewed = true end
  if persistent == '1' then meta('${record.PERSISTENT}', '1') end
  if persistent == '0' then unset[#unset + 1] = '${record.PERSISTENT}' end
  if successor ~= '-' then
    for _, name in ipairs({${SECRETS}}) do
      if name ~= '${record.DIGEST}' then unset[#unset + 1] = name end
    end
    meta('${record.DIGEST}', successor)
    meta('${record.ROTATED}', ms(now))
    meta('${record.UNDO}', undo(successor, ttl, fields))
  end
end

local extended
if unannounced then touch = 'n' end
if renewed then
  extended = lasting(math.min(idle_timeout(record), lifetime_left(record)))
elseif touch == 'a' or (touch == 'd' and ttl < idle_timeout(record)) then
  extended = extension(record)
  if touch == 'd' and extended <= ttl then extended = nil end
end
-- Redis refuses a script's first write if it may grow a full memory. What grows comes first, so that it is refused as a
-- whole; deleting and extending come first where nothing grows, so that they work all the same.
if extended then ttl = extended end
if extended and #set > 0 then meta('${record.LAST_ACCESSED_AT}', ms(now)) end
-- unpack() takes a few thousand values at most.
local function apply(command, list)
  for first = 1, #list, 1000 do redis.call(command, key, unpack(list, first, math.min(first + 999, #list))) end
end
apply('HSET', set)
apply('HDEL', unset)
if extended and #set > 0 then expire(key, ttl) elseif extended then extend(key, ttl) end
local answer = {'ok', ms(now), ms(ttl), left}
for i = 1, #results do answer[i + 4] = results[i] end
return answer
`

/** ARGV: lineage, names. Answers nothing, or the texts. Reserved names never get here. */
export const readScript = script(OWNED + `
local owner = redis.call('HMGET', KEYS[1], '${record.DIGEST}', '${record.LINEAGE}')
if not owned(ARGV[1], owner[1], owner[2]) then return false end
-- unpack() takes a few thousand values at most.
local answer = {}
for first = 2, #ARGV, 1000 do
  local texts = redis.call('HMGET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
  for i = 1, #texts do answer[#answer + 1] = texts[i] end
end
return answer
`)

/** ARGV: digest, digest of the offered successor, its sealed secret. Answers nothing, or the sealed successor that stands. */
export const renewScript = script(`
if redis.call('HGET', KEYS[1], '${record.DIGEST}') ~= ARGV[1] then return false end
if redis.call('HEXISTS', KEYS[1], '${record.NEXT}') == 1 then return redis.call('HGET', KEYS[1], '${record.SEALED}') end
redis.call('HSET', KEYS[1], '${record.NEXT}', ARGV[2], '${record.SEALED}', ARGV[3])
return ARGV[3]
`)

/** ARGV: lineage. Answers nothing, or what LOAD answers for a record that is simply current. */
export const lookScript = script(CLOCK + OWNED + `
local owner = redis.call('HMGET', KEYS[1], '${record.DIGEST}', '${record.LINEAGE}')
if not owned(ARGV[1], owner[1], owner[2]) then return false end
return cmsgpack.pack('current', 0, now, redis.call('PTTL', KEYS[1]), redis.call('HGETALL', KEYS[1]))
`)

/** ARGV: deadline, mark, and perhaps the lineage that the record has to be of. Answers 'ok' or 'none', and the clock. */
export const retireScript = script(CLOCK + OWNED + UNDO + `
local key, mark, lineage = KEYS[1], ARGV[2], ARGV[3]
if now > tonumber(ARGV[1]) then return 'late ' .. ms(now) end
local owner = redis.call('HMGET', key, '${record.DIGEST}', '${record.LINEAGE}')
if not owner[1] or (lineage and not owned(lineage, owner[1], owner[2])) then return 'none ' .. ms(now) end
local ttl = redis.call('PTTL', key)
local before = undo(mark, ttl, redis.call('HGETALL', key))
-- Redis refuses a script's first write if it may grow a full memory.
redis.call('HDEL', key, ${SECRETS})
redis.call('HSET', key, '${record.UNDO}', before)
redis.call('PEXPIRE', key, math.max(1, math.min(ttl, ${record.RETIRED_FOR})))
return 'ok ' .. ms(now)
`)

/** ARGV: mark. Answers 1 where the record's last step has it, and the record ended by it. */
export const finalizeScript = script(TELL + `
local head = redis.call('HMGET', KEYS[1], '${record.UNDO}', '${record.DIGEST}')
if not head[1] or cmsgpack.unpack(head[1]) ~= ARGV[1] then return 0 end
if head[2] then
  redis.call('HDEL', KEYS[1], '${record.UNDO}')
  return 0
end
redis.call('DEL', KEYS[1])
tell(KEYS[1], 'destroyed')
return 1
`)

/** ARGV: mark. Answers 1 where the record's last step had it, and the record is what it was before. */
export const takeBackScript = script(CLOCK + `
local head = redis.call('HMGET', KEYS[1], '${record.UNDO}', '${record.BARRED}')
if not head[1] then return 0 end
local mark, expires, fields = cmsgpack.unpack(head[1])
if mark ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if expires <= now then return 0 end
-- unpack() takes a few thousand values at most.
for first = 1, #fields, 1000 do redis.call('HSET', KEYS[1], unpack(fields, first, math.min(first + 999, #fields))) end
if head[2] then redis.call('HSET', KEYS[1], '${record.BARRED}', head[2]) end
redis.call('PEXPIRE', KEYS[1], ms(expires - now))
return 1
`)

/** ARGV: nothing, or the lineage that the record has to be of. Answers 1 where there was a record, and no other thing, to end. */
export const destroyScript = script(OWNED + TELL + `
local head = redis.call('HMGET', KEYS[1], '${record.DIGEST}', '${record.LINEAGE}', '${record.UNDO}')
if ARGV[1] and not owned(ARGV[1], head[1], head[2]) or not (head[1] or head[3]) then return 0 end
redis.call('DEL', KEYS[1])
tell(KEYS[1], 'destroyed')
return 1
`)

/** Answers nothing, or milliseconds left and all fields. */
export const inspectScript = script(`
local fields = redis.call('HGETALL', KEYS[1])
-- A bar against a late write is no record, and what was retired is none any more.
local retired, owner = false, false
for i = 1, #fields, 2 do
  if fields[i] == '${record.UNDO}' then retired = true elseif fields[i] == '${record.DIGEST}' then owner = true end
end
if #fields == 0 or (#fields == 2 and fields[1] == '${record.BARRED}') or (retired and not owner) then return false end
return {redis.call('PTTL', KEYS[1]), fields}
`)

/** ARGV: digest. */
export const standsScript = script(`
local owner = redis.call('HMGET', KEYS[1], '${record.DIGEST}', '${record.NEXT}')
return (owner[1] == ARGV[1] or owner[2] == ARGV[1]) and 1 or 0
`)
