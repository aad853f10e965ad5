-- build_event: create an event that is missing or damaged in Redis. It stays closed until open_event
--   has added the sold seats, and the payments that were under way.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}   stream of changes
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  version           identifies the definition
-- ARGV[2]  definition        the definition (JSON)
-- ARGV[3]  opens_at_ms       when the sale opens
-- ARGV[4]  closes_at_ms      when it closes, or ""
-- ARGV[5]  hold_ms           how long a hold lasts
-- ARGV[6]  max_held          seats that one client may hold unpaid
-- ARGV[7]  seat_count        how many seats the venue has
-- ARGV[8]  unsure_ms         how long the outcome of a hold that was lost stays unknown
-- ARGV[9]  built_revision    the revision at which the caller knows that the event was built, or 0;
--                            an event that is older is a lost one that has come back, and is replaced
-- returns  built | known
-- The first revision is the current time in microseconds: so it is above every revision from before
-- a loss, since an event never changes a million times a second.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key = unpack(KEYS)
local version, definition, opens_at_ms, closes_at_ms, hold_ms, max_held, seat_count,
  unsure_ms, built_revision = unpack(ARGV)
-- include clock begin_epoch seats journal broken_part

if redis.call('EXISTS', event_key) == 1 and not broken_part() then
  local known_revision = tonumber(redis.call('HGET', event_key, 'revision'))
  if known_revision >= tonumber(built_revision) then return {'known'} end
end

redis.call('DEL', event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key)
redis.call('SET', seats_key, string.rep('0', seat_count))

local time = redis.call('TIME')
local revision = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', event_key, 'version', version, 'definition', definition, 'revision', revision,
  'opens_at_ms', opens_at_ms, 'closes_at_ms', closes_at_ms, 'hold_ms', hold_ms, 'max_held', max_held, 'seat_count', seat_count,
  'built_revision', revision, 'closed', '1')
begin_epoch(revision, unsure_ms)
record_opening(revision)
return {'built'}
