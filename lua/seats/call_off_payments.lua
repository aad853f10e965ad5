-- call_off_payments: in a cancelled event, have the payments canceled that wait at the bank.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  canceled_as       what their buyers will hear (JSON)
-- returns  called_off under_way | not_cancelled | event_missing
-- under_way   how many payments have not ended yet
-- Only those that nobody is looking at: a process at work on one may be about to book it, and ends it or
-- leaves it here again.
local event_key, holds_key, payments_key = unpack(KEYS)
local canceled_as = unpack(ARGV)
-- include clock cancelled

-- Looked at in one call. Those that were called off before have lapsed and come first.
local MOST = 1000

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
if not is_cancelled() then return {'not_cancelled'} end
for _, hold_id in ipairs(redis.call('ZRANGE', payments_key, 0, MOST - 1)) do
  local known = redis.call('HGET', holds_key, hold_id)
  local hold = known and cjson.decode(known)
  if hold and hold.bank and not hold.bank.claimed and not hold.bank.canceled_as then
    hold.bank.canceled_as = cjson.decode(canceled_as)
    redis.call('HSET', holds_key, hold_id, cjson.encode(hold))
    redis.call('ZADD', payments_key, 'XX', 'LT', now_ms(), hold_id)
  end
end
return {'called_off', redis.call('ZCARD', payments_key)}
