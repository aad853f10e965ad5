-- lapsed_holds: list the holds whose payment has not ended within its lease.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- returns  lapsed hold_ids | event_missing
local event_key, payments_key = unpack(KEYS)
-- include clock

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
return {'lapsed', redis.call('ZRANGEBYSCORE', payments_key, '-inf', now_ms())}
