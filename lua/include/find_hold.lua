-- A hold, decoded and as its stored JSON; nil when there is none. Every hold has a deadline or a
-- payment: when the numbers differ, holds were lost, and a missing one may have been paid.
local function find_hold(hold_id)
  local known = redis.call('HGET', holds_key, hold_id)
  if known then return cjson.decode(known), known end
  local awaited = redis.call('ZCARD', due_key) + redis.call('ZCARD', payments_key)
  if redis.call('HLEN', holds_key) ~= awaited then error('event_broken: holds') end
end
