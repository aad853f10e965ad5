-- What need not be searched. The best seats go first, so the front of a section fills, and would be
-- searched in vain again and again. The event remembers how far that is, in a field such as
--   searched:<start>:2   "<freed> <position>"
-- The section that begins at start has no two free seats in a row of the string before position
-- ("searched:<start>:any": no free seat), as long as the event's `freed` is the same: it rises with
-- every seat that is freed.

-- A search over so many seats costs some times as much as to remember it.
local LONG_SEARCH = 2048

local freed
local long_searches = {} -- to be written down, as HSET takes them

local function search_field(start, count) return 'searched:' .. start .. ':' .. count end

-- Where in a section to begin the search for any free seat, and for so many in a row.
local function recall_searches(start, length, quantity)
  if length <= LONG_SEARCH then return start, start end
  local known = redis.call('HMGET', event_key,
    'freed', search_field(start, 'any'), search_field(start, quantity))
  freed = known[1] or '0'
  local function position_of(mark)
    local freed_then, position = string.match(mark or '', '^(%d+) (%d+)$')
    return freed_then == freed and tonumber(position) or start
  end
  return position_of(known[2]), position_of(known[3])
end

-- The search that began at `from` found nothing before `position`.
local function note_search(start, count, from, position)
  if position - from >= LONG_SEARCH then
    long_searches[#long_searches + 1] = search_field(start, count)
    long_searches[#long_searches + 1] = freed .. ' ' .. position
  end
end
