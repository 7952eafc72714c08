-- Sends one GET after another, each with the next of the prepared cookies, and prints what was measured as one line of
-- JSON. Requests are put together once, in init: the generator shares the machine with what it measures.

local prepared = {}
local position = 0

function init(args)
  if args[1] then
    for cookie in io.lines(args[1]) do
      prepared[#prepared + 1] = wrk.format('GET', wrk.path, { ['Cookie'] = cookie })
    end
  end
  if #prepared == 0 then prepared[1] = wrk.format('GET', wrk.path) end
end

function request()
  position = position % #prepared + 1
  return prepared[position]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'BENCH {"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
