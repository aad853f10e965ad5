-- The packed seat string: one byte a seat, '0' free, 'h' held, 'p' paying, 's' sold. A position past
-- its end means that the string was lost.
local function seat_state(position)
  local state = redis.call('GETRANGE', seats_key, position, position)
  if state == '' then error('event_broken: seats') end
  return state
end

local function set_seats(positions, state)
  for _, position in ipairs(positions) do
    redis.call('SETRANGE', seats_key, position, state)
  end
  if state == '0' then
    redis.call('HINCRBY', event_key, 'freed', 1) -- the searches that hold_best stored are out of date
  end
end

local function all_free(positions)
  for _, position in ipairs(positions) do
    if seat_state(position) ~= '0' then return false end
  end
  return true
end

-- Whether another booking has one of the seats: found in MongoDB after Redis had lost it.
local function any_sold(positions)
  for _, position in ipairs(positions) do
    if seat_state(position) == 's' then
      return true
    end
  end
  return false
end
