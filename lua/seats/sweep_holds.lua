-- sweep_holds: free the seats of expired holds, so that the seat map is current. Correctness does not
--   need it: every script that could refuse somebody because of such a hold sweeps first.
-- KEYS[1]  event:{event}    hash, the definition and the revision
-- KEYS[2]  seats:{event}    string, one byte a seat
-- KEYS[3]  holds:{event}    hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}      sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}  hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}  stream of changes
-- returns  swept | sweep_again | event_missing
-- In a cancelled event every hold is over.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key = unpack(KEYS)
-- include clock seats journal clients end_hold sweep cancelled

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
if sweep(is_cancelled() and '+inf' or now_ms()) == SWEEP_LIMIT then return {'sweep_again'} end
return {'swept'}
