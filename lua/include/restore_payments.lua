-- Puts payments back that Redis has lost. `payments` is a JSON list of {hold_id, hold, at_bank}, with each hold as
-- begin_payment leaves it. A payment stays lost when its hold has had another one since, or when somebody
-- else has its seats. Returns whether all are under way now.
local function restore_payments(payments, lease_ms)
  local now, are_all = now_ms(), true
  for _, payment in ipairs(cjson.decode(payments)) do
    local hold_id, hold = payment.hold_id, payment.hold
    local known = redis.call('HGET', holds_key, hold_id)
    local before = known and cjson.decode(known)
    local is_lost
    if before then
      is_lost = before.state == 'held' and before.attempt < hold.attempt
      hold.keys, hold.refused, hold.deadline_ms = before.keys, before.refused, before.deadline_ms
    else
      is_lost = all_free(hold.seats)
    end
    if is_lost then
      redis.call('HSET', holds_key, hold_id, cjson.encode(hold))
      redis.call('ZREM', due_key, hold_id)
      -- Nobody works on a payment at the bank: the worker shall look at once how long it may stay there.
      redis.call('ZADD', payments_key, payment.at_bank and now or now + lease_ms, hold_id)
      if not before then count_seats(hold, #hold.seats) end
      set_seats(hold.seats, 'p')
    elseif not (before and before.state == 'paying' and before.begun_ms == hold.begun_ms) then
      are_all = false
    end
  end
  return are_all
end
