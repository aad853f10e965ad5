-- begin_payment: mark the seats of a hold as paying, or repeat the final answer to this key.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}   stream of changes
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- KEYS[8]  receipt:{event}:<key_digest>  string, the final answer to an idempotency key
-- ARGV[1]  version           the definition by which the caller will name the positions
-- ARGV[2]  hold_id           the hold
-- ARGV[3]  fingerprint       digest of what is paid for and how
-- ARGV[4]  intent            who pays and how (JSON), kept until the payment has ended
-- ARGV[5]  lease_ms          after this time the worker takes the payment over
-- ARGV[6]  call_id           random; the same call sent again gets the same answer
-- ARGV[7]  key_digest        digest of the idempotency key
-- returns  begun hold_json | at_bank hold_json
--        | replay outcome_json
--        | key_reused | payment_in_progress | not_found | not_known_now unsure_ms
--        | event_changed | event_closed | event_missing
-- The receipt is read first: a buyer who repeats a payment that went through must get its receipt,
-- whatever became of the hold. Once the seats are paying, they no longer expire. at_bank: the same payment
-- was begun before, has to be confirmed at the bank, and is the caller's to look at now.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key, receipt_key =
  unpack(KEYS)
local version, hold_id, fingerprint, intent, lease_ms, call_id, key_digest = unpack(ARGV)
-- include clock epoch server unknown_hold seats journal clients end_hold find_hold hold_keys take_over

local event = redis.call('HMGET', event_key, 'version', 'closed', 'closes_at_ms')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end
if event[1] ~= version then return {'event_changed'} end

local function repeated(answer)
  if answer.fingerprint ~= fingerprint then return {'key_reused'} end
  return {'replay', answer.outcome}
end

local receipt = redis.call('GET', receipt_key)
if receipt then return repeated(cjson.decode(receipt)) end

local hold, known = find_hold(hold_id)
if not hold then return unknown_hold(hold_id) end
local key = recalled(hold, key_digest)
if key and key.outcome then return repeated(key) end
if hold.state == 'paying' then
  if hold.call_id == call_id then return {hold.bank and 'at_bank' or 'begun', known} end
  local paid = cjson.decode(hold.intent)
  if paid.key_digest == key_digest and paid.fingerprint == fingerprint
    and waits_at_bank(hold_id, hold) then
    hold.call_id = call_id
    return {'at_bank', take_over(hold_id, hold, lease_ms)}
  end
  return {'payment_in_progress'}
end
local now = now_ms()
local is_cancelled = event[3] == '0'
if hold.deadline_ms <= now or any_sold(hold.seats) or is_cancelled then
  if may_have_gone_back() then return {'not_known_now', UNSEEN_MS} end
  free_hold(hold_id, hold, 'expired')
  return {'not_found'}
end

hold.state = 'paying'
hold.attempt = hold.attempt + 1
hold.begun_ms = now
hold.intent = intent
hold.call_id = call_id
hold.given_back = key and key.given_back
-- A worker of an older release leaves these behind.
hold.claim = nil
hold.bank = nil
local begun = cjson.encode(hold)
redis.call('HSET', holds_key, hold_id, begun)
redis.call('ZREM', due_key, hold_id)
redis.call('ZADD', payments_key, now + lease_ms, hold_id)
set_seats(hold.seats, 'p')
record('paying', hold_id, hold.seats)
return {'begun', begun}
