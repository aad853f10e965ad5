-- read_upkeep: whether an event needs the worker, and what the worker has to know of it.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  due:{event}       sorted set, hold_id by deadline
-- KEYS[3]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- returns  upkeep version revision expired lapsed | event_closed | event_missing
-- expired and lapsed count the holds past their deadline and the payments past their lease.
local event_key, due_key, payments_key = unpack(KEYS)
-- include clock

local event = redis.call('HMGET', event_key, 'version', 'closed', 'revision')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end
local now = now_ms()
return {'upkeep', event[1], event[3],
  redis.call('ZCOUNT', due_key, '-inf', now), redis.call('ZCOUNT', payments_key, '-inf', now)}
