-- Claims a payment under way for the caller: until its lease is over, nobody else can. The number of
-- the claim fences off whoever had the payment before. Returns the hold as stored now (JSON).
local function take_over(hold_id, hold, lease_ms)
  hold.claim = (hold.claim or 0) + 1
  if hold.bank then hold.bank.claimed = true end
  local claimed = cjson.encode(hold)
  redis.call('HSET', holds_key, hold_id, claimed)
  redis.call('ZADD', payments_key, now_ms() + lease_ms, hold_id)
  return claimed
end

-- Whether a payment waits at the bank and nobody is looking at it, or not any more.
local function waits_at_bank(hold_id, hold)
  return hold.bank and (not hold.bank.claimed
    or tonumber(redis.call('ZSCORE', payments_key, hold_id) or 0) <= now_ms())
end
