-- hold_best: claim the best free seats of a section, side by side where they can be.
-- KEYS[1]  event:{event}    hash, the definition and the revision
-- KEYS[2]  seats:{event}    string, one byte a seat
-- KEYS[3]  holds:{event}    hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}      sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}  hash client -> seats it holds unpaid
-- KEYS[6]  journal:{event}  stream of changes
-- ARGV[1]  version          the definition that the places below were taken from
-- ARGV[2]  hold_id          made by the caller; a repeat with the same id gets the same answer
-- ARGV[3]  client           who the seats count against
-- ARGV[4]  amount_minor     their price
-- ARGV[5]  quantity         how many seats
-- ARGV[6]  start            where the section begins in the seat string
-- ARGV[7]  length           how many seats it has
-- ARGV[8]  blocks           runs of adjacent seats, best row first, four bytes each: twice where it
--                           begins, one more when a row begins there. Empty for general admission,
--                           where any seat is as good as the next
-- returns  held deadline_ms now_ms positions amount_minor
--        | sold_out
--        | too_many_held held
--        | sale_not_open wait_ms
--        | sweep_again | event_changed | event_closed | event_missing
-- A refusal writes nothing.
-- The best seats go first, so the front of a section fills, and would be searched in vain again and
-- again. How far that is the event remembers ("searched:..."), until the next seat is freed.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key = unpack(KEYS)
local version, hold_id, client, amount_minor, quantity, start, length, blocks = unpack(ARGV)
-- include clock seats journal end_hold sweep claim

-- Seats that are read first; then twice as many each time.
local FIRST_WINDOW = 256
-- A search over so many seats costs some times as much as to remember it.
local LONG_SEARCH = 2048

local answer, now, hold_ms, max_held = admit(version, hold_id)
if answer then return answer end

quantity, start, length = tonumber(quantity), tonumber(start), tonumber(length)
local finish = start + length

-- ------------------------------------------------------------------ what need not be searched

local freed
local searched_for_any, searched_for_run = start, start -- nothing is to be found before
local long_searches = {}

local function field_of(count) return 'searched:' .. start .. ':' .. count end

if length > LONG_SEARCH then
  local known = redis.call('HMGET', event_key, 'freed', field_of('any'), field_of(quantity))
  freed = known[1] or '0'
  local function searched(mark)
    local then_freed, position = string.match(mark or '', '^(%d+) (%d+)$')
    return then_freed == freed and tonumber(position) or start
  end
  searched_for_any, searched_for_run = searched(known[2]), searched(known[3])
end

local function note_search(count, from, position)
  if position - from >= LONG_SEARCH then
    long_searches[#long_searches + 1] = field_of(count)
    long_searches[#long_searches + 1] = freed .. ' ' .. position
  end
end

-- ------------------------------------------------------------------ the seats, read in windows

local window, window_start, window_finish, window_length = '', 0, 0, FIRST_WINDOW

-- The first place at or after `from` with `count` free seats in a row of the string, or nil.
local function find_free(count, from)
  local run = string.rep('0', count)
  while from + count <= finish do
    if from < window_start then window_length = FIRST_WINDOW end -- another search
    if from < window_start or from + count > window_finish then
      window_start, window_finish = from, math.min(from + window_length + count, finish)
      window = redis.call('GETRANGE', seats_key, window_start, window_finish - 1)
      window_length = window_length * 2
    end
    local at = string.find(window, run, from - window_start + 1, true) -- Lua counts from 1
    if at then return window_start + at - 1 end
    from = window_finish - count + 1
  end
end

-- ------------------------------------------------------------------ blocks and rows

local block_count = #blocks / 4

-- Where a block begins, and whether a row does there.
local function block_at(index)
  if index == block_count then return finish, true end
  local packed = struct.unpack('>I4', blocks, 4 * index + 1)
  return math.floor(packed / 2), packed % 2 == 1
end

-- The block that has this seat.
local function block_of(position)
  local low, high = 0, block_count
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if block_at(middle) <= position then low = middle else high = middle end
  end
  return low
end

-- The free run that is nearest to the middle of its row, of two the first. No earlier block of the
-- row than `block` has one.
local function nearest_to_middle(block)
  local first, last = block, block
  while not select(2, block_at(first)) do first = first - 1 end
  repeat last = last + 1 until select(2, block_at(last))

  local run = string.rep('0', quantity)
  local ideal = (block_at(first) + block_at(last) - quantity) / 2
  local nearest
  for index = block, last - 1 do
    local begins, ends = block_at(index), block_at(index + 1)
    local seats = redis.call('GETRANGE', seats_key, begins, ends - 1)
    local before = math.floor(ideal) - begins + 1 -- in `seats`, counted from 1
    -- Found from behind, in the mirror, where a run that begins at i begins at mirrored - i.
    local mirrored = #seats - quantity + 2
    local at = string.find(string.reverse(seats), run, math.max(1, mirrored - before), true)
    for _, found in ipairs({
      at and mirrored - at or 0,
      string.find(seats, run, math.max(1, before + 1), true) or 0,
    }) do
      local position = begins + found - 1
      if found > 0 and (not nearest or math.abs(position - ideal) < math.abs(nearest - ideal)) then
        nearest = position
      end
    end
  end
  return nearest
end

-- ------------------------------------------------------------------ the search

-- Seats side by side in the first row that has as many. Returns their positions, or nil.
local function side_by_side(first_free)
  if block_count == 0 then return nil end
  local at = find_free(quantity, math.max(first_free, searched_for_run))
  local block = at and block_of(at)
  while at do
    local ends = block_at(block + 1)
    if at + quantity <= ends then
      note_search(quantity, searched_for_run, block_at(block))
      local nearest = nearest_to_middle(block)
      local positions = {}
      for seat = 0, quantity - 1 do
        positions[#positions + 1] = nearest + seat
      end
      return positions
    end
    at = find_free(quantity, ends) -- that run was across an aisle
    while at and block_at(block + 1) <= at do block = block + 1 end
  end
  note_search(quantity, searched_for_run, finish)
  return nil
end

-- The first free seats in layout order, wherever they are. Returns their positions, or nil.
local function anywhere(first_free)
  local positions = {}
  local at = first_free
  while at do
    positions[#positions + 1] = at
    if #positions == quantity then return positions end
    at = find_free(1, at + 1)
  end
  return nil
end

local first_free = find_free(1, searched_for_any)
local positions = first_free and (side_by_side(first_free) or anywhere(first_free))
if not positions then
  return {'sold_out'}
end
note_search('any', searched_for_any, first_free)
local claimed = claim(hold_id, client, amount_minor, positions, now, hold_ms, max_held)
if claimed[1] == 'held' and #long_searches > 0 then
  redis.call('HSET', event_key, unpack(long_searches))
end
return claimed
