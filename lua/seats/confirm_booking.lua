-- confirm_booking: mark the seats of a booking that is in MongoDB as sold, whatever their state here.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}   stream of changes
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- KEYS[8]  receipt:{event}:<key_digest>  string, the final answer to an idempotency key
-- ARGV[1]  version           the definition that the positions were taken from
-- ARGV[2]  hold_id           the hold that became the booking
-- ARGV[3]  positions         "7,8,9"
-- ARGV[4]  fingerprint       stored with the answer
-- ARGV[5]  receipt           the receipt (JSON), the final answer to this key
-- ARGV[6]  receipt_ms        how long the answer is kept
-- returns  confirmed | event_changed | event_missing
-- A repeat changes nothing.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key, receipt_key =
  unpack(KEYS)
local version, hold_id, positions, fingerprint, receipt, receipt_ms = unpack(ARGV)
-- include clock positions seats journal clients end_hold

local known_version = redis.call('HGET', event_key, 'version')
if not known_version then return {'event_missing'} end
if known_version ~= version then return {'event_changed'} end

local sold = {}
for _, position in ipairs(split_positions(positions)) do
  if seat_state(position) ~= 's' then
    sold[#sold + 1] = position
  end
end
if #sold > 0 then
  set_seats(sold, 's')
  record('sold', hold_id, sold)
end
local known = redis.call('HGET', holds_key, hold_id)
if known then
  end_hold(hold_id, cjson.decode(known))
  redis.call('ZREM', payments_key, hold_id)
end
redis.call('SET', receipt_key,
  cjson.encode({fingerprint = fingerprint, outcome = receipt}), 'PX', receipt_ms)
return {'confirmed'}
