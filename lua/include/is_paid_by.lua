-- Whether a payment is the one under way for a hold, and the caller's. Its number alone does not identify
-- it: when Redis was restored to a state before a payment, the next payment gets the same number. The
-- claim is 0 for the process that began it, and rises when another one takes it over.
local function is_paid_by(hold, attempt, begun_ms, claim)
  return hold.state == 'paying' and hold.attempt == tonumber(attempt)
    and (hold.begun_ms or 0) == tonumber(begun_ms)
    and (hold.claim or 0) == tonumber(claim)
end
