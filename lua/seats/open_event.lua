-- open_event: update an event from its file and from the bookings in MongoDB, and open it if it was
--   rebuilt.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  journal:{event}   stream of changes
-- KEYS[4]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[5]  due:{event}       sorted set, hold_id by deadline
-- KEYS[6]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  from_version      the definition that the caller compared with
-- ARGV[2]  version           identifies the new definition
-- ARGV[3]  definition        the new definition (JSON)
-- ARGV[4]  opens_at_ms       when the sale opens
-- ARGV[5]  closes_at_ms      when it closes, or ""
-- ARGV[6]  hold_ms           how long a hold lasts
-- ARGV[7]  max_held          seats that one client may hold unpaid
-- ARGV[8]  map               the seats of the new definition, one byte each: free, or sold if they
--                            are sold in MongoDB
-- ARGV[9]  moved             one byte for each seat of from_version: "1" where the new definition
--                            has another seat, or none, at that position
-- ARGV[10] lost_revision     the highest revision of a history that Redis has lost, or 0
-- ARGV[11] unsure_ms         how long the outcome of a hold that was lost then stays unknown
-- ARGV[12] payments          those that were under way when Redis lost them, for restore_payments (JSON)
-- ARGV[13] lease_ms          after this time the worker takes them over
-- ARGV[14] unsettled         1 when there may be more such payments; 0 when these are all
-- returns  opened revision | unchanged revision | seats_moved positions
--        | event_changed | event_missing
-- A seat that is not free never changes its position and is never freed. After a loss the revision
-- becomes the current time in microseconds, or, if the clock was set back too, one above all revisions
-- of both histories: no revision ever stands for two different maps.
-- An unpaid hold ends when one of its seats turns out to be sold, to its own buyer or to another.
local event_key, seats_key, journal_key, holds_key, due_key, clients_key, payments_key =
  unpack(KEYS)
local from_version, version, definition, opens_at_ms, closes_at_ms, hold_ms, max_held, map, moved,
  lost_revision, unsure_ms, payments, lease_ms, unsettled = unpack(ARGV)
-- include clock server begin_epoch seats journal clients end_hold restore_payments

local event = redis.call('HMGET', event_key, 'version', 'closed', 'revision')
if not event[1] then return {'event_missing'} end
if event[1] ~= from_version then return {'event_changed'} end

local found = redis.call('GET', seats_key)
if not restore_payments(payments, lease_ms) then unsettled = '1' end
local before = redis.call('GET', seats_key)
local in_the_way, parts, done, sold_a_hold = {}, {}, 0, false
local at = string.find(before, '[^0]')
while at do
  if string.sub(moved, at, at) == '1' then
    in_the_way[#in_the_way + 1] = at - 1
  elseif string.sub(map, at, at) == '0' then
    parts[#parts + 1] = string.sub(map, done + 1, at - 1) .. string.sub(before, at, at)
    done = at
  elseif string.sub(before, at, at) == 'h' then
    sold_a_hold = true
  end
  at = string.find(before, '[^0]', at + 1)
end
if #in_the_way > 0 then
  return {'seats_moved', table.concat(in_the_way, ',')}
end

local went_back = lost_revision ~= '0'
redis.call('HDEL', event_key, 'closed')
redis.call('HSET', event_key, 'server', server_id())
local after = table.concat(parts) .. string.sub(map, done + 1)
redis.call('SET', seats_key, after)
if event[1] == version and after == found and not went_back and not event[2] then
  return {'unchanged', event[3]}
end

local revision
if went_back then
  local time = redis.call('TIME')
  local newest = redis.call('XREVRANGE', journal_key, '+', '-', 'COUNT', 1)[1]
  local recorded = newest and string.match(newest[1], '^%d+') or 0
  revision = string.format('%.0f',
    math.max(time[1] * 1000000 + time[2], lost_revision + 1, event[3] + 1, recorded + 1))
else
  revision = string.format('%.0f', event[3] + 1)
end
local was = event[1] ~= version and redis.call('HGET', event_key, 'definition') or nil
redis.call('HSET', event_key, 'version', version, 'definition', definition, 'revision', revision,
  'opens_at_ms', opens_at_ms, 'closes_at_ms', closes_at_ms, 'hold_ms', hold_ms, 'max_held', max_held, 'seat_count', #after)
redis.call('HINCRBY', event_key, 'freed', 1) -- free seats may be side by side that were not
-- Also after build_event, which began one before the payments were back: they are carried over.
if went_back or event[2] then begin_epoch(revision, unsure_ms, unsettled) end
record_opening(revision, was)
if sold_a_hold then
  local holds = redis.call('HGETALL', holds_key)
  for index = 1, #holds, 2 do
    local hold_id, hold = holds[index], cjson.decode(holds[index + 1])
    if hold.state == 'held' and any_sold(hold.seats) then free_hold(hold_id, hold, 'released') end
  end
end
return {'opened', revision}
