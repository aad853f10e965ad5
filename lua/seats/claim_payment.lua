-- claim_payment: take over the payment of a hold that is at the bank, with a new lease.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  due:{event}       sorted set, hold_id by deadline
-- KEYS[4]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  version           the definition by which the caller will name the positions
-- ARGV[2]  hold_id           the hold
-- ARGV[3]  key_digest        digest of the idempotency key; "" for whichever payment it is
-- ARGV[4]  lease_ms          for this time nobody else takes it over
-- ARGV[5]  call_id           random; the same call sent again gets the same answer
-- returns  claimed hold_json | payment_in_progress | not_found | not_known_now unsure_ms
--        | event_changed | event_closed | event_missing
-- payment_in_progress: it is not at the bank, or somebody else is looking at it.
local event_key, holds_key, due_key, payments_key = unpack(KEYS)
local version, hold_id, key_digest, lease_ms, call_id = unpack(ARGV)
-- include clock epoch server unknown_hold find_hold take_over

local event = redis.call('HMGET', event_key, 'version', 'closed')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end
if event[1] ~= version then return {'event_changed'} end

local hold, known = find_hold(hold_id)
if not hold then return unknown_hold(hold_id) end
if hold.state ~= 'paying' then return {'not_found'} end
if key_digest ~= '' and cjson.decode(hold.intent).key_digest ~= key_digest then
  return {'not_found'}
end
if hold.call_id == call_id then return {'claimed', known} end
if not waits_at_bank(hold_id, hold) then return {'payment_in_progress'} end
hold.call_id = call_id
return {'claimed', take_over(hold_id, hold, lease_ms)}
