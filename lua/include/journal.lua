-- Longer than any sale: 50,000 seats sold one by one are 150,000 changes of some 70 bytes.
local JOURNAL_LENGTH = 200000

-- Raises the revision and writes the change down under it. The revision is the stream id, so
-- "everything after revision r" is one XRANGE.
local function record(change, hold_id, positions)
  local revision = redis.call('HINCRBY', event_key, 'revision', 1)
  redis.call('XADD', journal_key, 'MAXLEN', '~', JOURNAL_LENGTH,
    string.format('%.0f-0', revision), -- tostring() would print 1.7e+15
    'change', change, 'hold', hold_id, 'seats', table.concat(positions, ','))
end
