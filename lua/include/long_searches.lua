-- Where a search can start. The best seats go first, so the front of a section fills up, and every
-- search would scan it again for nothing. The event hash keeps how far it is full, in a field such as
--   searched:<start>:2   "<freed> <position>"
-- It means: the section that begins at start has no two adjacent free bytes in the string before
-- position ("searched:<start>:any": no free one at all), while the event's `freed` is unchanged.
-- `freed` grows with every seat that is freed.

-- From this length on, a search costs several times as much as storing its result.
local LONG_SEARCH = 2048

local freed
local long_searches = {} -- the fields to store, as HSET takes them

local function search_field(start, count) return 'searched:' .. start .. ':' .. count end

-- Where in a section to start the search for any free seat, and for `quantity` adjacent ones.
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

-- Notes that the search from `from` found nothing before `position`.
local function note_search(start, count, from, position)
  if position - from >= LONG_SEARCH then
    long_searches[#long_searches + 1] = search_field(start, count)
    long_searches[#long_searches + 1] = freed .. ' ' .. position
  end
end
