-- Buyers for wrk. Each request comes from an address of its own, as the local nginx allows.
-- Arguments: EVENT taken SEAT        ask for one seat that somebody has; expects 409
--            EVENT free SECTION      hold one free seat after the other; expects 201
--            EVENT buy SECTION CARD  hold a free seat, then pay for it; expects 201 twice
-- Seats of SECTION are SECTION-GA-1, SECTION-GA-2 and so on; threads take turns.
local THREADS = 2 -- as __main__.py says
local threads = {}

function setup(thread)
  thread:set('number', #threads)
  thread:set('thread_count', THREADS)
  threads[#threads + 1] = thread
end

function init(args)
  event, mode, where, card = unpack(args)
  seats_asked, answers, bookings, surprises, last_surprise = 0, 0, 0, 0, ''
  held = {} -- holds that wait to be paid
  math.randomseed(number + 1)
end

local function address()
  return string.format('198.%d.%d.%d', math.random(18, 19), math.random(0, 255), math.random(0, 255))
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
  local seat = where
  if mode ~= 'taken' then
    seat = where .. '-GA-' .. (seats_asked * thread_count + number + 1)
    seats_asked = seats_asked + 1
  end
  return post('/seats/' .. seat .. '/hold', {}, nil)
end

function response(status, headers, body)
  answers = answers + 1
  if status ~= (mode == 'taken' and 409 or 201) then
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
function done(summary)
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
    '{"seconds": %.3f, "answers": %d, "bookings": %d, "surprises": %d, "last": "%s"}',
    summary.duration / 1e6, sums.answers, sums.bookings,
    sums.surprises + errors.connect + errors.read + errors.write + errors.timeout,
    string.gsub(string.sub(last_surprise, 1, 200), '[\\"%c]', ' ')))
end
