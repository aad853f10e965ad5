-- Whether a payment is the one under way for a hold. Its number alone does not say so: when Redis has
-- gone back to before a payment, the next one gets the same number.
local function is_paid_by(hold, attempt, begun_ms)
  return hold.state == 'paying' and hold.attempt == tonumber(attempt)
    and (hold.begun_ms or 0) == tonumber(begun_ms)
end
