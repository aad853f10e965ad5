-- maintenance_due: whether an event needs the worker, and what the worker has to know of it.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}   stream of changes
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  seen_revision     where the caller found the event last, or ""
-- ARGV[2]  seen_change       the change of that revision
-- returns  upkeep version revision change history expired lapsed epoch settled
--        | event_broken part | event_closed | event_missing
-- change is what raised the revision to what it is, in one line; history "goes on", or "was lost"
-- when the journal does not have what the caller saw: as many changes as were lost may have come
-- since, so the revision alone says nothing. Or the journal has more than the event: then that is
-- older. expired and lapsed count the holds past their deadline
-- and the payments past their lease. epoch is "" for an event that a former release has built; it is
-- "settled", or "unsettled" until settle_epoch is told of it.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key =
  unpack(KEYS)
local seen_revision, seen_change = unpack(ARGV)
-- include clock broken_part

-- No two histories have the same change, of the same hold and at the same millisecond, under the
-- same revision. "" when the journal has nothing there.
local function change_at(revision)
  local entry = redis.call('XRANGE', journal_key, revision .. '-0', revision .. '-0')[1]
  if not entry then return '' end
  local words = {}
  for at = 1, #entry[2], 2 do
    local field = entry[2][at]
    -- A former release wrote the map into the same entry.
    if field ~= 'map' and field ~= 'was' then words[#words + 1] = entry[2][at + 1] end
  end
  return table.concat(words, ' ')
end

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
local part = broken_part()
if part then return {'event_broken', part} end
local event = redis.call('HMGET', event_key, 'version', 'closed', 'revision', 'epoch', 'unsettled',
  'unrecorded')
if event[2] then return {'event_closed'} end
local now, change = now_ms(), change_at(event[3])
local known = seen_revision == '' or change_at(seen_revision) == seen_change
local later = string.format('%.0f-0', event[3] + 1)
local newer = redis.call('XRANGE', journal_key, later, '+', 'COUNT', 1)[1]
local goes_on = change ~= '' and known and not newer and not event[6]
return {'upkeep', event[1], event[3], change, goes_on and 'goes on' or 'was lost',
  redis.call('ZCOUNT', due_key, '-inf', now), redis.call('ZCOUNT', payments_key, '-inf', now),
  event[4] or '', event[5] and 'unsettled' or 'settled'}
