-- hold_best: claim the best free seats of a section, side by side where they can be.
-- KEYS[1]  event:{event}    hash, the definition and the revision
-- KEYS[2]  seats:{event}    string, one byte a seat
-- KEYS[3]  holds:{event}    hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}      sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}  hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}  stream of changes
-- ARGV[1]  version          the definition that the places below were taken from
-- ARGV[2]  hold_id          made by the caller; a repeat with the same id gets the same answer
-- ARGV[3]  client           the client that the seats count for
-- ARGV[4]  network          the network that they count for too, or ""
-- ARGV[5]  network_max      seats that one network may hold unpaid
-- ARGV[6]  amount_minor     the price of all of them
-- ARGV[7]  quantity         how many seats
-- ARGV[8]  start            where the section begins in the seat string
-- ARGV[9]  length           how many seats it has
-- ARGV[10] blocks           runs of adjacent seats, packed as below, best row first. Empty for general
--                           admission, where any seat is as good as the next
-- returns  held deadline_ms now_ms positions amount_minor
--        | sold_out
--        | too_many_held held | too_many_held_by_network held
--        | sale_not_open wait_ms | sale_closed
--        | sweep_again | event_changed | event_closed | event_missing
-- A refusal writes nothing.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key = unpack(KEYS)
local version, hold_id, client, network, network_max, amount_minor, quantity, start, length, blocks =
  unpack(ARGV)
-- include clock epoch seats journal clients end_hold sweep claim free_runs long_searches

local answer, now, hold_ms, max_held = admit(version, hold_id)
if answer then return answer end

quantity, start, length = tonumber(quantity), tonumber(start), tonumber(length)
local finish = start + length

-- ------------------------------------------------------------------ blocks and rows

-- A block is a big-endian number of four bytes: twice the position where it begins, plus one when a
-- row begins there. Two rows of eight, the first with an aisle in the middle:
--   seats     0 1 2 3   4 5 6 7     8 9 10 11 12 13 14 15
--   blocks    1         8          17
-- A block ends where the next one begins, the last one where the section does.
local block_count = #blocks / 4

local function block_start(index)
  if index == block_count then return finish end
  return math.floor(struct.unpack('>I4', blocks, 4 * index + 1) / 2)
end

local function begins_row(index)
  return index == block_count or struct.unpack('>I4', blocks, 4 * index + 1) % 2 == 1
end

-- The block that has this seat.
local function block_of(position)
  local low, high = 0, block_count
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if block_start(middle) <= position then low = middle else high = middle end
  end
  return low
end

-- The start of the free run nearest to the middle of its row; the first one when two are as near.
-- `block` must be the first block of the row that has such a run.
--   seats     8 9 10 11 12 13 14 15
--             0 0  s  0  s  0  0  s     two seats would best begin at (8 + 16 - 2) / 2 = 11:
--             <-                        the last run that begins there or before, at 8,
--                           ->          and the first one after it, at 13, which is nearer
-- Each block of the row is searched in this way, and the nearest run of all is taken.
local function nearest_to_middle(block)
  local first, last = block, block
  while not begins_row(first) do first = first - 1 end
  repeat last = last + 1 until begins_row(last)

  local run = string.rep('0', quantity)
  local ideal = (block_start(first) + block_start(last) - quantity) / 2
  local nearest
  local function consider(position)
    if not nearest or math.abs(position - ideal) < math.abs(nearest - ideal) then
      nearest = position
    end
  end
  for index = block, last - 1 do
    local begins, ends = block_start(index), block_start(index + 1)
    local seats = redis.call('GETRANGE', seats_key, begins, ends - 1)
    local at_ideal = math.floor(ideal) - begins + 1 -- in `seats`, counted from 1
    -- Lua cannot search backwards, so the reversed string is searched: a run that begins at i in
    -- `seats` begins at mirrored - i there.
    local mirrored = #seats - quantity + 2
    local back = string.find(string.reverse(seats), run, math.max(1, mirrored - at_ideal), true)
    if back then consider(begins + mirrored - back - 1) end
    local ahead = string.find(seats, run, math.max(1, at_ideal + 1), true)
    if ahead then consider(begins + ahead - 1) end
  end
  return nearest
end

-- ------------------------------------------------------------------ the search

local any_from, run_from = recall_searches(start, length, quantity)

-- Adjacent seats in the first row that has enough of them. Returns their positions, or nil.
local function side_by_side(first_free)
  if block_count == 0 then return nil end
  local at = find_free(quantity, math.max(first_free, run_from), finish)
  local block = at and block_of(at)
  while at do
    local ends = block_start(block + 1)
    if at + quantity <= ends then
      note_search(start, quantity, run_from, block_start(block))
      local nearest = nearest_to_middle(block)
      local positions = {}
      for seat = 0, quantity - 1 do
        positions[#positions + 1] = nearest + seat
      end
      return positions
    end
    at = find_free(quantity, ends, finish) -- that run was across an aisle
    while at and block_start(block + 1) <= at do block = block + 1 end
  end
  note_search(start, quantity, run_from, finish)
  return nil
end

-- The first free seats in layout order, wherever they are. Returns their positions, or nil.
local function anywhere(first_free)
  local positions = {}
  local at = first_free
  while at do
    positions[#positions + 1] = at
    if #positions == quantity then return positions end
    at = find_free(1, at + 1, finish)
  end
  return nil
end

local first_free = find_free(1, any_from, finish)
local positions = first_free and (side_by_side(first_free) or anywhere(first_free))
if not positions then
  return {'sold_out'}
end
note_search(start, 'any', any_from, first_free)
local claimed = claim(hold_id, client, network, amount_minor, positions, now, hold_ms, max_held,
  network_max)
if claimed[1] == 'held' and #long_searches > 0 then
  redis.call('HSET', event_key, unpack(long_searches))
end
return claimed
