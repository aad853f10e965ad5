-- Milliseconds of Unix time on Redis's own clock. The clocks of the workers are never asked: two
-- of them can disagree about whether a hold has expired, one Redis cannot.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
