-- extend_hold: extend the deadline of a hold by its whole duration; works once per hold.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  due:{event}       sorted set, hold_id by deadline
-- KEYS[4]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  version          the definition by which the caller will name the positions
-- ARGV[2]  hold_id          the hold
-- ARGV[3]  call_id          random; the same call sent again gets the same answer
-- returns  extended hold_json now_ms
--        | already_extended | payment_in_progress | not_found | not_known_now unsure_ms
--        | event_changed | event_closed | event_missing
-- The time is added to the deadline, not to now: asking early loses no time. No seat changes, so the
-- revision stays the same.
local event_key, holds_key, due_key, payments_key = unpack(KEYS)
local version, hold_id, call_id = unpack(ARGV)
-- include clock epoch server unknown_hold find_hold

local event = redis.call('HMGET', event_key, 'version', 'closed', 'hold_ms')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end
if event[1] ~= version then return {'event_changed'} end
if not event[3] then error('event_broken: event') end

local hold, known = find_hold(hold_id)
if not hold then return unknown_hold(hold_id) end
if hold.state == 'paying' then return {'payment_in_progress'} end
local now = now_ms()
if hold.deadline_ms <= now then return {'not_found'} end
if hold.extended_by then
  if hold.extended_by == call_id then return {'extended', known, now} end
  return {'already_extended'}
end

hold.extended_by = call_id
hold.deadline_ms = hold.deadline_ms + tonumber(event[3])
local extended = cjson.encode(hold)
redis.call('HSET', holds_key, hold_id, extended)
redis.call('ZADD', due_key, hold.deadline_ms, hold_id)
return {'extended', extended, now}
