-- Unix time in milliseconds by Redis's clock. The workers' clocks are never used: two workers can
-- disagree about whether a hold has expired, one Redis cannot.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
