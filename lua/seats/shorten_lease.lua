-- shorten_lease: shorten the lease of a payment, if it is under way.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  hold_id           the hold
-- ARGV[2]  within_ms         after this time the worker takes the payment over
-- ARGV[3]  at_bank_within_ms the same for a payment at the bank that nobody is looking at
-- returns  hurried | event_missing
-- A shorter lease stays as it is, and so does a payment that has ended.
local event_key, holds_key, payments_key = unpack(KEYS)
local hold_id, within_ms, at_bank_within_ms = unpack(ARGV)
-- include clock

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
local known = redis.call('HGET', holds_key, hold_id)
local bank = known and cjson.decode(known).bank
if bank and not bank.claimed then within_ms = at_bank_within_ms end
redis.call('ZADD', payments_key, 'XX', 'LT', now_ms() + within_ms, hold_id)
return {'hurried'}
