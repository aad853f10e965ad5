-- shorten_lease: shorten the lease of a payment, if it is under way.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  hold_id           the hold
-- ARGV[2]  within_ms         after this time the worker takes the payment over
-- returns  hurried | event_missing
-- A shorter lease stays as it is, and so does a payment that has ended.
local event_key, payments_key = unpack(KEYS)
local hold_id, within_ms = unpack(ARGV)
-- include clock

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
redis.call('ZADD', payments_key, 'XX', 'LT', now_ms() + within_ms, hold_id)
return {'hurried'}
