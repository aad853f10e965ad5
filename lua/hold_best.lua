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
-- ARGV[8]  blocks           "start length middle start length middle ...": runs of adjacent
--                           seats, best row first; middle is twice the middle of the row. Empty
--                           for general admission, where any seat is as good as the next
-- returns  held deadline_ms now_ms positions amount_minor
--        | sold_out
--        | too_many_held held
--        | sale_not_open wait_ms
--        | sweep_again | event_changed | event_closed | event_missing
-- A refusal writes nothing. The search is a plain substring search in the section's part of the
-- seat string, so its cost is that of the section, not of the hall.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key = unpack(KEYS)
local version, hold_id, client, amount_minor, quantity, start, length, blocks = unpack(ARGV)
-- include clock seats journal end_hold sweep claim

local answer, now, hold_ms, max_held = admit(version, hold_id)
if answer then return answer end

quantity, start, length = tonumber(quantity), tonumber(start), tonumber(length)
local section = redis.call('GETRANGE', seats_key, start, start + length - 1)

-- The run of free seats side by side in the first row that has one; in the row, that nearest to its
-- middle. Returns its positions, or nil.
local function side_by_side()
  local run = string.rep('0', quantity)
  if not string.find(section, run, 1, true) then
    return nil
  end
  local nearest, distance, row
  for block_start, block_length, middle in string.gmatch(blocks, '(%d+) (%d+) (%d+)') do
    if nearest and middle ~= row then break end
    row = middle -- blocks of one row have the same
    local first = block_start - start + 1 -- Lua counts from 1
    local block = string.sub(section, first, first + block_length - 1)
    local at = string.find(block, run, 1, true)
    while at do
      local position = block_start + at - 1
      local off = math.abs(2 * position + quantity - 1 - middle)
      if not nearest or off < distance then
        nearest, distance = position, off
      end
      at = string.find(block, run, at + 1, true)
    end
  end
  if not nearest then
    return nil
  end
  local positions = {}
  for seat = 0, quantity - 1 do
    positions[#positions + 1] = nearest + seat
  end
  return positions
end

-- The first free seats in layout order, wherever they are. Returns their positions, or nil.
local function anywhere()
  local positions = {}
  local at = 0
  while #positions < quantity do
    at = string.find(section, '0', at + 1, true)
    if not at then
      return nil
    end
    positions[#positions + 1] = start + at - 1
  end
  return positions
end

local positions = side_by_side() or anywhere()
if not positions then
  return {'sold_out'}
end
return claim(hold_id, client, amount_minor, positions, now, hold_ms, max_held)
