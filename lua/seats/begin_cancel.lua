-- begin_cancel: from now on a payment that was at the bank can only be canceled, never booked.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  due:{event}       sorted set, hold_id by deadline
-- KEYS[4]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  hold_id           the hold
-- ARGV[2]  attempt           the number of the payment among those of the hold
-- ARGV[3]  begun_ms          when it was begun
-- ARGV[4]  claim             the number of the caller's claim
-- ARGV[5]  bank              as for wait_for_bank, with canceled_as: what its buyer will hear
-- returns  canceling bank | lost | event_missing
-- The first call decides what the buyer hears. A call to the gateway whose answer was lost may still
-- be carried out, after the owner of the card has confirmed the payment: booking it in between would
-- give a seat without money. This mark outlives the process that left it.
local event_key, holds_key, due_key, payments_key = unpack(KEYS)
local hold_id, attempt, begun_ms, claim, bank = unpack(ARGV)
-- include find_hold is_paid_by

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
local hold = find_hold(hold_id)
if not hold or not is_paid_by(hold, attempt, begun_ms, claim) then return {'lost'} end
if not (hold.bank and hold.bank.canceled_as) then
  hold.bank = cjson.decode(bank)
  hold.bank.claimed = true
  redis.call('HSET', holds_key, hold_id, cjson.encode(hold))
end
return {'canceling', cjson.encode(hold.bank)}
