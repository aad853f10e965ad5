-- return_seats: put the seats of a refunded booking back on sale.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}   stream of changes
-- KEYS[7]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  version          the definition that the positions were taken from
-- ARGV[2]  hold_id          the hold that became the booking
-- ARGV[3]  positions        "7,8,9": those of its seats that no other booking has
-- returns  returned | event_changed | event_missing
-- A seat that is not sold is left alone: it was returned before, and may be somebody else's by now.
-- The hold may still exist, if only MongoDB knew of the sale. It is ended here: if it ended later, it
-- would free seats that belong to somebody else by then.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key, payments_key =
  unpack(KEYS)
local version, hold_id, positions = unpack(ARGV)
-- include clock positions seats journal clients end_hold

local known_version = redis.call('HGET', event_key, 'version')
if not known_version then return {'event_missing'} end
if known_version ~= version then return {'event_changed'} end

local returned = {}
for _, position in ipairs(split_positions(positions)) do
  if seat_state(position) == 's' then
    returned[#returned + 1] = position
  end
end
if #returned > 0 then
  set_seats(returned, '0')
  record('refunded', hold_id, returned)
  local known = redis.call('HGET', holds_key, hold_id)
  local hold = known and cjson.decode(known)
  if hold and #hold.seats == #returned then
    end_hold(hold_id, hold)
    redis.call('ZREM', payments_key, hold_id)
  end
end
return {'returned'}
