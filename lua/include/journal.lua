-- Longer than any sale: 50,000 seats sold one by one are 150,000 changes of some 80 bytes.
local JOURNAL_LENGTH = 200000

-- After so many changes the journal has the whole map again: the front of it is cut off in the end,
-- and a replay begins at the oldest map that is left.
local CHANGES_TO_A_MAP = 50000

local function journal_id(revision, part) return string.format('%.0f-%d', revision, part) end

-- The map as it is at this revision, the second entry of its revision. `was` is the definition that
-- older entries took their positions from, when it was replaced, or nil.
local function record_map(revision, was)
  local entry = {'change', 'map', 'map', redis.call('GET', seats_key)}
  if was then entry[5], entry[6] = 'was', was end
  redis.pcall('XADD', journal_key, journal_id(revision, 1), unpack(entry))
end

-- An event begins, or begins again, with a whole map.
local function record_opening(revision, was)
  redis.call('HDEL', event_key, 'unrecorded')
  redis.call('XADD', journal_key, 'MAXLEN', '~', JOURNAL_LENGTH,
    journal_id(revision, 0), 'change', 'opened', 'at', now_ms())
  record_map(revision, was)
end

-- Raises the revision and writes the change down under it. The revision is the stream id, so
-- "everything after revision r" is one XRANGE. The seats are set before. No sale stops for a journal
-- that is wrong or newer than the event: that is noted, and the worker has the journal begin again.
local function record(change, hold_id, positions)
  local revision = redis.call('HINCRBY', event_key, 'revision', 1)
  local recorded = redis.pcall('XADD', journal_key, 'MAXLEN', '~', JOURNAL_LENGTH,
    journal_id(revision, 0),
    'change', change, 'at', now_ms(), 'hold', hold_id, 'seats', table.concat(positions, ','))
  if recorded.err then redis.call('HSET', event_key, 'unrecorded', '1') end
  if revision % CHANGES_TO_A_MAP == 0 then record_map(revision) end
end
