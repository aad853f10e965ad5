-- read_hold: read a hold as it is now.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  due:{event}       sorted set, hold_id by deadline
-- KEYS[4]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  version          the definition by which the caller will name the positions
-- ARGV[2]  hold_id          the hold
-- returns  hold hold_json now_ms | not_found | not_known_now unsure_ms
--        | event_changed | event_closed | event_missing
-- A hold past its deadline is not found, even if no sweep has freed its seats yet.
local event_key, holds_key, due_key, payments_key = unpack(KEYS)
local version, hold_id = unpack(ARGV)
-- include clock epoch server unknown_hold find_hold

local event = redis.call('HMGET', event_key, 'version', 'closed')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end
if event[1] ~= version then return {'event_changed'} end

local hold, known = find_hold(hold_id)
if not hold then return unknown_hold(hold_id) end
local now = now_ms()
if hold.state == 'held' and hold.deadline_ms <= now then return {'not_found'} end
return {'hold', known, now}
