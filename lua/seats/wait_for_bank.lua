-- wait_for_bank: leave a payment to its buyer, who has to confirm it at the bank.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  due:{event}       sorted set, hold_id by deadline
-- KEYS[4]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  hold_id           the hold
-- ARGV[2]  attempt           the number of the payment among those of the hold
-- ARGV[3]  begun_ms          when it was begun
-- ARGV[4]  claim             the number of the caller's claim
-- ARGV[5]  bank              how the buyer gets to the bank, and until when (JSON object)
-- ARGV[6]  look_at_ms        when the worker looks at it, unless somebody does before
-- returns  waiting now_ms | lost | event_missing
-- lost: the payment is not the caller's any more, or is being canceled.
local event_key, holds_key, due_key, payments_key = unpack(KEYS)
local hold_id, attempt, begun_ms, claim, bank, look_at_ms = unpack(ARGV)
-- include clock find_hold is_paid_by

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
local hold = find_hold(hold_id)
if not hold or not is_paid_by(hold, attempt, begun_ms, claim) then return {'lost'} end
if hold.bank and hold.bank.canceled_as then return {'lost'} end
hold.bank = cjson.decode(bank)
redis.call('HSET', holds_key, hold_id, cjson.encode(hold))
redis.call('ZADD', payments_key, look_at_ms, hold_id)
return {'waiting', now_ms()}
