-- Forgets a hold and stops counting its seats against its client. The seats are the caller's.
local function end_hold(hold_id, hold)
  redis.call('HDEL', holds_key, hold_id)
  redis.call('ZREM', due_key, hold_id)
  if redis.call('HINCRBY', clients_key, hold.client, -#hold.seats) <= 0 then
    redis.call('HDEL', clients_key, hold.client)
  end
end

-- Gives the seats of a hold back. A seat that was found sold meanwhile stays sold.
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
