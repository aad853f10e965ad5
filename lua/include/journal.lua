-- Longer than any sale: 50,000 seats sold one by one are 150,000 changes of some 80 bytes.
local JOURNAL_LENGTH = 200000

-- How many changes lie between two copies of the whole map: the journal is trimmed at its front, and
-- a replay starts from the oldest copy that is left.
local CHANGES_TO_A_MAP = 50000

local function journal_id(revision, part) return string.format('%.0f-%d', revision, part) end

-- Records the map at this revision, as the revision's second entry. `was` is the replaced definition,
-- by which the positions in earlier entries must be read; nil when the definition did not change. The
-- newest map is never trimmed: a journal without it was lost.
local function record_map(revision, was)
  local entry = {'change', 'map', 'map', redis.call('GET', seats_key)}
  if was then entry[5], entry[6] = 'was', was end
  local recorded = redis.pcall('XADD', journal_key, journal_id(revision, 1), unpack(entry))
  if not recorded.err then
    redis.call('HSET', event_key, 'mapped_revision', string.format('%.0f', revision))
  end
end

-- Records that an event was opened, or opened again, with its whole map.
local function record_opening(revision, was)
  redis.call('HDEL', event_key, 'unrecorded')
  redis.call('XADD', journal_key, 'MAXLEN', '~', JOURNAL_LENGTH,
    journal_id(revision, 0), 'change', 'opened', 'at', now_ms())
  record_map(revision, was)
end

-- Raises the revision and records the change under it; the caller has set the seats. The revision is
-- the stream id, so "everything after revision r" is one XRANGE. A journal that is damaged or newer
-- than the event must not stop a sale: the failure is noted, and the worker begins a new journal.
local function record(change, hold_id, positions)
  local revision = redis.call('HINCRBY', event_key, 'revision', 1)
  local recorded = redis.pcall('XADD', journal_key, 'MAXLEN', '~', JOURNAL_LENGTH,
    journal_id(revision, 0),
    'change', change, 'at', now_ms(), 'hold', hold_id, 'seats', table.concat(positions, ','))
  if recorded.err then redis.call('HSET', event_key, 'unrecorded', '1') end
  if revision % CHANGES_TO_A_MAP == 0 then record_map(revision) end
end
