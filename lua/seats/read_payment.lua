-- read_payment: read the outcome of the payment that was made with an idempotency key.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  due:{event}       sorted set, hold_id by deadline
-- KEYS[4]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- KEYS[5]  receipt:{event}:<key_digest>  string, the final answer to an idempotency key
-- ARGV[1]  hold_id           the hold
-- ARGV[2]  key_digest        digest of the idempotency key
-- returns  replay outcome_json | paying hold_json now_ms | not_found | not_known_now unsure_ms
--        | event_closed | event_missing
local event_key, holds_key, due_key, payments_key, receipt_key = unpack(KEYS)
local hold_id, key_digest = unpack(ARGV)
-- include clock epoch server unknown_hold find_hold hold_keys

local event = redis.call('HMGET', event_key, 'version', 'closed')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end

local receipt = redis.call('GET', receipt_key)
if receipt then return {'replay', cjson.decode(receipt).outcome} end
local hold, known = find_hold(hold_id)
if not hold then return unknown_hold(hold_id) end
local key = recalled(hold, key_digest)
if key and key.outcome then return {'replay', key.outcome} end
if hold.state == 'paying' and cjson.decode(hold.intent).key_digest == key_digest then
  return {'paying', known, now_ms()}
end
return {'not_found'}
