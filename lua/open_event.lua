-- open_event: bring an event up to date with its file and with the bookings in MongoDB, and open it
--   when it was built anew.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  journal:{event}   stream of changes
-- ARGV[1]  from_version      the definition that the caller compared with
-- ARGV[2]  version           the new definition's name
-- ARGV[3]  definition        the new definition (JSON)
-- ARGV[4]  opens_at_ms       when the sale opens
-- ARGV[5]  hold_ms           how long a hold lasts
-- ARGV[6]  max_held          seats that one client may hold unpaid
-- ARGV[7]  map               the new hall, a character a seat, with the seats sold in MongoDB
-- ARGV[8]  moved             the hall of from_version, a character a seat: "1" where the new
--                            definition has another seat, or none, at that position
-- ARGV[9]  seen_revision     the highest revision that anybody has seen, or 0
-- returns  opened revision | unchanged revision | seats_moved positions
--        | event_changed | event_missing
-- Older entries of the journal have positions of the definition that is replaced: the new entry
-- keeps it, as `was`.
-- A seat that is not free never changes its place and is never freed. An event whose revision is
-- below one that was seen has gone back in time; it goes on at the microsecond of now, or above what
-- was seen when the clock has gone back too.
local event_key, seats_key, journal_key = unpack(KEYS)
local from_version, version, definition, opens_at_ms, hold_ms, max_held, map, moved, seen_revision =
  unpack(ARGV)

local event = redis.call('HMGET', event_key, 'version', 'closed', 'revision')
if not event[1] then return {'event_missing'} end
if event[1] ~= from_version then return {'event_changed'} end

local before = redis.call('GET', seats_key)
local in_the_way, parts, done = {}, {}, 0
local at = string.find(before, '[^0]')
while at do
  if string.sub(moved, at, at) == '1' then
    in_the_way[#in_the_way + 1] = at - 1
  elseif string.sub(map, at, at) == '0' then
    parts[#parts + 1] = string.sub(map, done + 1, at - 1) .. string.sub(before, at, at)
    done = at
  end
  at = string.find(before, '[^0]', at + 1)
end
if #in_the_way > 0 then
  return {'seats_moved', table.concat(in_the_way, ',')}
end

local went_back = tonumber(event[3]) < tonumber(seen_revision)
redis.call('HDEL', event_key, 'closed')
local after = table.concat(parts) .. string.sub(map, done + 1)
redis.call('SET', seats_key, after)
if event[1] == version and after == before and not went_back and not event[2] then
  return {'unchanged', event[3]}
end

local revision
if went_back then
  local time = redis.call('TIME')
  revision = string.format('%.0f', math.max(time[1] * 1000000 + time[2], seen_revision + 1))
else
  revision = string.format('%.0f', event[3] + 1)
end
local entry = {'change', 'opened', 'map', after}
if event[1] ~= version then
  entry[5], entry[6] = 'was', redis.call('HGET', event_key, 'definition')
end
redis.call('HSET', event_key, 'version', version, 'definition', definition, 'revision', revision,
  'opens_at_ms', opens_at_ms, 'hold_ms', hold_ms, 'max_held', max_held)
redis.call('HINCRBY', event_key, 'freed', 1) -- free seats may be side by side that were not
redis.call('XADD', journal_key, revision .. '-0', unpack(entry))
return {'opened', revision}
