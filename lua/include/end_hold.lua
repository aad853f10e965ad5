-- Deletes a hold and stops counting its seats. The caller sets the seats themselves.
local function end_hold(hold_id, hold)
  redis.call('HDEL', holds_key, hold_id)
  redis.call('ZREM', due_key, hold_id)
  count_seats(hold, -#hold.seats)
end

-- Frees the seats of a hold. A seat that has turned out to be sold stays sold.
local function free_hold(hold_id, hold, change)
  local freed = {}
  for _, position in ipairs(hold.seats) do
    if seat_state(position) ~= 's' then
      freed[#freed + 1] = position
    end
  end
  end_hold(hold_id, hold)
  if #freed > 0 then
    set_seats(freed, '0')
    record(change, hold_id, freed)
  end
end
