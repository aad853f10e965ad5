-- read_hold: what is known of a hold now.
-- KEYS[1]  event:{event}    hash, the definition and the revision
-- KEYS[2]  holds:{event}    hash hold_id -> hold (JSON)
-- ARGV[1]  version          the definition that the caller will name the positions by
-- ARGV[2]  hold_id          the hold
-- returns  hold hold_json now_ms | not_found
--        | event_changed | event_closed | event_missing
-- A hold past its deadline is not found even before a sweep has freed its seats.
local event_key, holds_key = unpack(KEYS)
local version, hold_id = unpack(ARGV)
-- include clock

local event = redis.call('HMGET', event_key, 'version', 'closed')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end
if event[1] ~= version then return {'event_changed'} end

local known = redis.call('HGET', holds_key, hold_id)
if not known then return {'not_found'} end
local hold = cjson.decode(known)
local now = now_ms()
if hold.state == 'held' and hold.deadline_ms <= now then return {'not_found'} end
return {'hold', known, now}
