-- The same request from many clients, for wrk. The requests are made before the measurement: making
-- one costs more than nginx needs to refuse it.
-- Arguments: METHOD PATH CLIENTS [check] [DELAY_MS]
-- The clients take turns, each with an address of its own, as the local nginx allows. `check` counts
-- the answers by status, which slows wrk down. DELAY_MS is a pause of each connection before each
-- request, so that a bot has a rate.
local THREADS = 2 -- as measurements.py says
local threads = {}

function setup(thread)
  thread:set('number', #threads)
  threads[#threads + 1] = thread
end

local function address(client)
  return string.format(
    '198.%d.%d.%d', 18 + math.floor(client / 65536), math.floor(client / 256) % 256, client % 256)
end

function init(args)
  local method, path, clients = args[1], args[2], tonumber(args[3])
  prepared, last, statuses = {}, 0, {}
  for client = number % clients, clients - 1, THREADS do
    prepared[#prepared + 1] = wrk.format(method, path, {['X-Forwarded-For'] = address(client)})
  end
  for position = 4, #args do
    if args[position] == 'check' then
      function response(status)
        statuses[status] = (statuses[status] or 0) + 1
      end
    else
      local delay_ms = tonumber(args[position])
      function delay()
        return delay_ms
      end
    end
  end
end

function request()
  last = last % #prepared + 1
  return prepared[last]
end

-- One line of JSON, the last that wrk prints.
function done(summary, latency)
  local sums, counted = {}, {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get('statuses')) do
      sums[status] = (sums[status] or 0) + count
    end
  end
  for status, count in pairs(sums) do
    counted[#counted + 1] = string.format('"%d": %d', status, count)
  end
  local errors = summary.errors
  print(string.format(
    '{"seconds": %.3f, "answers": %d, "p99_ms": %.3f, "errors": %d, "statuses": {%s}}',
    summary.duration / 1e6, summary.requests, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout, table.concat(counted, ', ')))
end
