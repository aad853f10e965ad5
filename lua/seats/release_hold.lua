-- release_hold: end a hold and free its seats.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}   stream of changes
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  hold_id          the hold
-- returns  released | not_found | not_known_now unsure_ms | payment_in_progress
--        | event_closed | event_missing
local event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key =
  unpack(KEYS)
local hold_id = unpack(ARGV)
-- include clock epoch server unknown_hold seats journal clients end_hold find_hold

local event = redis.call('HMGET', event_key, 'version', 'closed')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end
local hold = find_hold(hold_id)
if not hold then return unknown_hold(hold_id) end
if hold.state == 'paying' then return {'payment_in_progress'} end

free_hold(hold_id, hold, 'released')
return {'released'}
