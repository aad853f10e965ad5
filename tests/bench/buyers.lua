-- Ten thousand buyers for wrk, who take turns, each with an address of its own, as the local nginx
-- allows: none comes near the limit of a client. Not the addresses of burst.lua.
-- Arguments: EVENT free SECTION [PAUSE_MS [SEATS]]  hold one free seat after the other; expects 201
--            EVENT buy SECTION CARD [PAUSE_MS]      hold a free seat, then pay for it; expects 201
-- PAUSE_MS is how long each connection pauses before a request, on average. After SEATS the first
-- is asked for again, which must have run out by then.
-- Seats of SECTION are SECTION-GA-1, SECTION-GA-2 and so on; threads take turns.
local THREADS = 2 -- as measurements.py says
local CLIENTS_OF_THREAD = 5000
local MANY = 1e9
local threads = {}

function setup(thread)
  thread:set('number', #threads)
  thread:set('thread_count', THREADS)
  threads[#threads + 1] = thread
end

function init(args)
  event, mode, where = unpack(args)
  local pause_ms
  if mode == 'free' then
    pause_ms, seats = tonumber(args[4]), tonumber(args[5]) or MANY
  else
    card, pause_ms, seats = args[4], tonumber(args[5]), MANY
  end
  if pause_ms then
    math.randomseed(number)
    function delay()
      return math.random(0, 2 * pause_ms)
    end
  end
  seats_asked, answers, bookings, surprises, last_surprise = 0, 0, 0, 0, ''
  held = {} -- holds that wait to be paid
  client = 0
end

local function address()
  client = (client + 1) % CLIENTS_OF_THREAD
  local of_all = client * thread_count + number
  return string.format('198.19.%d.%d', math.floor(of_all / 256), of_all % 256)
end

local function post(path, headers, body)
  headers['X-Forwarded-For'] = address()
  return wrk.format('POST', '/api/events/' .. event .. path, headers, body)
end

function request()
  local hold = table.remove(held)
  if hold then
    return post('/holds/' .. hold.id .. '/pay', {
      ['Authorization'] = 'Bearer ' .. hold.token,
      ['Idempotency-Key'] = hold.id,
    }, '{"payment_method":"' .. card .. '","email":"ada@example.org","name":"Ada"}')
  end
  local seat = where .. '-GA-' .. ((seats_asked * thread_count + number) % seats + 1)
  seats_asked = seats_asked + 1
  return post('/seats/' .. seat .. '/hold', {}, nil)
end

function response(status, headers, body)
  answers = answers + 1
  if status ~= 201 then
    surprises = surprises + 1
    last_surprise = status .. ' ' .. body
  elseif mode == 'buy' then
    local token = string.match(body, '"hold_token":"([^"]+)"')
    if token then
      held[#held + 1] = {id = string.match(body, '"hold_id":"([^"]+)"'), token = token}
    else
      bookings = bookings + 1
    end
  end
end

-- One line of JSON, the last that wrk prints.
function done(summary, latency)
  local sums = {answers = 0, bookings = 0, surprises = 0}
  local last_surprise = ''
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do
      sums[name] = sums[name] + thread:get(name)
    end
    if thread:get('surprises') > 0 then
      last_surprise = thread:get('last_surprise')
    end
  end
  local errors = summary.errors
  print(string.format(
    '{"seconds": %.3f, "answers": %d, "p99_ms": %.3f, "bookings": %d, "surprises": %d, "last": "%s"}',
    summary.duration / 1e6, sums.answers, latency:percentile(99) / 1e3, sums.bookings,
    sums.surprises + errors.connect + errors.read + errors.write + errors.timeout,
    string.gsub(string.sub(last_surprise, 1, 200), '[\\"%c]', ' ')))
end
