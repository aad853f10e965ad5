-- Ten thousand buyers for wrk, who take turns, each with an address of its own, as the local nginx
-- allows: none comes near the limit of a client. Not the addresses of burst.lua.
-- Arguments: EVENT free SECTION [PAUSE_MS [SEATS]]  hold one free seat after the other; expects 201
--            EVENT buy SECTION CARD [PAUSE_MS]      hold a free seat, then pay for it; expects 201
--            EVENT list SECTION COUNT               hold COUNT free seats in each call; expects 201
--            EVENT keep SECTION FOLDER              like free; writes the holds to files of FOLDER
--            EVENT pay CARD FOLDER                  pay for the holds of FOLDER, until all are paid
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

local function read_kept(path)
  for line in io.lines(path) do
    local id, token = string.match(line, '^(%S+) (%S+)$')
    held[#held + 1] = {id = id, token = token}
  end
  -- wrk asks for one request before it starts, and for others after a delay each.
  unasked = #held - 1
  function delay()
    unasked = unasked - 1
    return unasked >= 0 and 0 or MANY
  end
end

function init(args)
  event, mode = args[1], args[2]
  where, seats, count = args[3], MANY, 1
  local pause_ms
  seats_asked, answers, bookings, surprises, last_surprise = 0, 0, 0, 0, ''
  held = {} -- holds that wait to be paid
  client = 0
  if mode == 'free' then
    pause_ms, seats = tonumber(args[4]), tonumber(args[5]) or MANY
  elseif mode == 'buy' then
    card, pause_ms = args[4], tonumber(args[5])
  elseif mode == 'list' then
    count = tonumber(args[4])
  elseif mode == 'keep' then
    kept = assert(io.open(args[4] .. '/' .. number, 'w'))
    kept:setvbuf('line') -- wrk does not close it
  elseif mode == 'pay' then
    card = args[3]
    read_kept(args[4] .. '/' .. number)
  end
  if pause_ms then
    math.randomseed(number)
    function delay()
      return math.random(0, 2 * pause_ms)
    end
  end
end

local function address()
  client = (client + 1) % CLIENTS_OF_THREAD
  local of_all = client * thread_count + number
  return string.format('198.19.%d.%d', math.floor(of_all / 256), of_all % 256)
end

local function next_seat()
  local number_of_seat = (seats_asked * thread_count + number) % seats + 1
  seats_asked = seats_asked + 1
  return where .. '-GA-' .. number_of_seat
end

local function post(path, headers, body)
  headers['X-Forwarded-For'] = address()
  headers['Content-Type'] = body and 'application/json'
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
  if mode == 'list' then
    local listed = {}
    for i = 1, count do
      listed[i] = '"' .. next_seat() .. '"'
    end
    return post('/holds', {}, '{"seats":[' .. table.concat(listed, ',') .. ']}')
  end
  return post('/seats/' .. next_seat() .. '/hold', {}, nil)
end

function response(status, headers, body)
  answers = answers + 1
  if status ~= 201 then
    surprises = surprises + 1
    last_surprise = status .. ' ' .. body
  elseif mode == 'buy' or mode == 'keep' then
    local token = string.match(body, '"hold_token":"([^"]+)"')
    local id = string.match(body, '"hold_id":"([^"]+)"')
    if not token then
      bookings = bookings + 1
    elseif kept then
      kept:write(id, ' ', token, '\n')
    else
      held[#held + 1] = {id = id, token = token}
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
