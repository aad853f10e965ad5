-- withdraw_event: delete an event in which nothing is held or being paid.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}   stream of changes
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  only_look         1 to delete nothing
-- returns  withdrawn | in_use holds payments | event_missing
local event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key =
  unpack(KEYS)
local only_look = unpack(ARGV)
-- include clock cancelled

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
local held = is_cancelled() and 0 or redis.call('ZCOUNT', due_key, now_ms(), '+inf')
local paying = redis.call('ZCARD', payments_key)
if held + paying > 0 then return {'in_use', held, paying} end
if only_look ~= '1' then
  redis.call('DEL', event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key)
end
return {'withdrawn'}
