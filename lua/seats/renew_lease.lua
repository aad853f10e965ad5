-- renew_lease: extend the lease of a payment, if the caller still has it.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  due:{event}       sorted set, hold_id by deadline
-- KEYS[4]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  hold_id           the hold
-- ARGV[2]  attempt           the number of the payment among those of the hold
-- ARGV[3]  begun_ms          when it was begun
-- ARGV[4]  claim             the number of the caller's claim
-- ARGV[5]  lease_ms          after this time the worker takes the payment over
-- returns  renewed | lost | event_missing
-- lost: this process was away for longer than its lease, and another one has taken the payment over, or
-- ended it; or Redis was restored to a state before the payment.
local event_key, holds_key, due_key, payments_key = unpack(KEYS)
local hold_id, attempt, begun_ms, claim, lease_ms = unpack(ARGV)
-- include clock find_hold is_paid_by

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
local hold = find_hold(hold_id)
if not hold then return {'lost'} end
if not is_paid_by(hold, attempt, begun_ms, claim) then return {'lost'} end
redis.call('ZADD', payments_key, now_ms() + lease_ms, hold_id)
return {'renewed'}
