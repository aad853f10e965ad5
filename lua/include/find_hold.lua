-- A hold as it is stored, and its JSON; nil when there is none. Holds that are waited for and not
-- there have been lost: then nobody knows what became of this one.
local function find_hold(hold_id)
  local known = redis.call('HGET', holds_key, hold_id)
  if known then return cjson.decode(known), known end
  local awaited = redis.call('ZCARD', due_key) + redis.call('ZCARD', payments_key)
  if redis.call('HLEN', holds_key) ~= awaited then error('event_broken: holds') end
end
