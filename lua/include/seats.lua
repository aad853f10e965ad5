-- The packed seat string: one byte a seat, '0' free, 'h' held, 'p' paying, 's' sold. A seat that it
-- does not have is none of these: the string has been lost.
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
    redis.call('HINCRBY', event_key, 'freed', 1) -- what hold_best remembers is out of date
  end
end

-- Whether one of the seats was sold to somebody else: found in MongoDB after Redis had lost it.
local function any_sold(positions)
  for _, position in ipairs(positions) do
    if seat_state(position) == 's' then
      return true
    end
  end
  return false
end
