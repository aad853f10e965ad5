-- maintenance_due: tell the worker whether an event needs its work, and what it needs to know for it.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}   stream of changes
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  seen_revision     the revision that the caller saw last, or ""
-- ARGV[2]  seen_change       the change that led to it
-- returns  upkeep version revision change history expired lapsed epoch settled server
--        | event_broken part | event_closed | event_missing
-- change    the change that led to the revision, in one line
-- history   "goes on"; or "was lost" when the journal does not have the change that the caller saw, or
--           its newest map, or has later ones than the event. The revision alone cannot tell: after a loss, new changes
--           may have raised it to the same number.
-- expired, lapsed   how many holds are past their deadline, and how many payments past their lease; in a
--           cancelled event all of them
-- epoch     "" for an event built by an older release
-- settled   "settled", or "unsettled" until settle_epoch has been called for the epoch
-- server    the server_id of the server on which the event was opened, or ""
local event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key =
  unpack(KEYS)
local seen_revision, seen_change = unpack(ARGV)
-- include clock broken_part cancelled

-- The change of a revision in one line, "" when the journal has none. It identifies the history: no two
-- histories have the same change, of the same hold and at the same millisecond, at one revision.
local function change_at(revision)
  local entry = redis.call('XRANGE', journal_key, revision .. '-0', revision .. '-0')[1]
  if not entry then return '' end
  local words = {}
  for at = 1, #entry[2], 2 do
    local field = entry[2][at]
    -- Older releases wrote the map into the same entry.
    if field ~= 'map' and field ~= 'was' then words[#words + 1] = entry[2][at + 1] end
  end
  return table.concat(words, ' ')
end

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
local part = broken_part()
if part then return {'event_broken', part} end
local event = redis.call('HMGET', event_key, 'version', 'closed', 'revision', 'epoch', 'unsettled',
  'unrecorded', 'mapped_revision', 'server')
if event[2] then return {'event_closed'} end
local now, change = now_ms(), change_at(event[3])
local known = seen_revision == '' or change_at(seen_revision) == seen_change
local later = string.format('%.0f-0', event[3] + 1)
local newer = redis.call('XRANGE', journal_key, later, '+', 'COUNT', 1)[1]
local ends = is_cancelled() and '+inf' or now
-- Events opened by an older release have no such field.
local mapped = not event[7]
  or #redis.call('XRANGE', journal_key, event[7] .. '-1', event[7] .. '-1') == 1
local goes_on = change ~= '' and known and mapped and not newer and not event[6]
return {'upkeep', event[1], event[3], change, goes_on and 'goes on' or 'was lost',
  redis.call('ZCOUNT', due_key, '-inf', ends), redis.call('ZCOUNT', payments_key, '-inf', ends),
  event[4] or '', event[5] and 'unsettled' or 'settled', event[8] or ''}
