-- Holds swept in one call. They take a millisecond or two, during which Redis serves nobody else.
local SWEEP_LIMIT = 100

-- Frees holds whose deadline is before `now`, oldest first. Returns how many; SWEEP_LIMIT means that there may
-- be more, so the caller must not refuse anybody yet: the hold in the way may have expired.
local function sweep(now)
  local expired = redis.call('ZRANGEBYSCORE', due_key, '-inf', now, 'LIMIT', 0, SWEEP_LIMIT)
  for _, hold_id in ipairs(expired) do
    local known = redis.call('HGET', holds_key, hold_id)
    if not known then error('event_broken: holds') end
    free_hold(hold_id, cjson.decode(known), 'expired')
  end
  return #expired
end
