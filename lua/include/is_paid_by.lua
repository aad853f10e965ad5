-- Whether a payment is the one under way for a hold. Its number alone does not identify it: when Redis
-- was restored to a state before a payment, the next payment gets the same number.
local function is_paid_by(hold, attempt, begun_ms)
  return hold.state == 'paying' and hold.attempt == tonumber(attempt)
    and (hold.begun_ms or 0) == tonumber(begun_ms)
end
