-- undo_payment: end a payment that definitely charged nothing; its hold goes on, or ends.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}   stream of changes
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- KEYS[8]  receipt:{event}:<key_digest>  string, the final answer to an idempotency key
-- ARGV[1]  hold_id           the hold
-- ARGV[2]  attempt           the number of the payment among those of the hold
-- ARGV[3]  begun_ms          when it was begun
-- ARGV[4]  claim             the number of the caller's claim
-- ARGV[5]  fingerprint       stored with the answer
-- ARGV[6]  answer            why nothing was charged (JSON object), the final answer to this key; ""
--                            when the key may be used again
-- ARGV[7]  card_refused      1 when the card was refused, which is counted; 0 when it was not tried
-- ARGV[8]  given_back        1 when the gateway may know a key that may be used again; or 0
-- ARGV[9]  max_refused       this many refused cards end the hold
-- ARGV[10] receipt_ms        how long the answer is kept
-- returns  held attempts_left | freed attempts_left | not_paying | event_missing
-- attempts_left is 0 when freed, and is added to the stored answer. A hold is freed when its time ran
-- out during the charge, or when one of its seats is sold to somebody else. not_paying: the payment
-- has ended already, by another process or by this same call sent twice; the answer stored then stays.
-- Or another process has taken it over.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key, receipt_key =
  unpack(KEYS)
local hold_id, attempt, begun_ms, claim, fingerprint, answer, card_refused, given_back,
  max_refused, receipt_ms = unpack(ARGV)
-- include clock seats journal clients end_hold find_hold hold_keys is_paid_by

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
local hold = find_hold(hold_id)
if not hold or not is_paid_by(hold, attempt, begun_ms, claim) then return {'not_paying'} end

hold.refused = hold.refused + card_refused
local attempts_left = max_refused - hold.refused
if hold.deadline_ms <= now_ms() or any_sold(hold.seats) then
  attempts_left = 0
end

redis.call('ZREM', payments_key, hold_id)
local digest = cjson.decode(hold.intent).key_digest
if answer ~= '' then
  answer = cjson.decode(answer)
  answer.attempts_left = attempts_left
  local kept = {fingerprint = fingerprint, outcome = cjson.encode(answer)}
  redis.call('SET', receipt_key, cjson.encode(kept), 'PX', receipt_ms)
  kept.digest = digest
  remember(hold, kept)
elseif given_back == '1' then
  remember(hold, {digest = digest, given_back = (hold.given_back or 0) + 1})
end
if attempts_left == 0 then
  free_hold(hold_id, hold, 'released')
  return {'freed', attempts_left}
end
hold.state = 'held'
hold.intent = nil
hold.given_back = nil
hold.claim = nil
hold.bank = nil
redis.call('HSET', holds_key, hold_id, cjson.encode(hold))
redis.call('ZADD', due_key, hold.deadline_ms, hold_id)
set_seats(hold.seats, 'h')
record('unpaid', hold_id, hold.seats)
return {'held', attempts_left}
