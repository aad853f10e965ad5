-- hold_seats: claim the named seats for one client, all of them or none.
-- KEYS[1]  event:{event}    hash, the definition and the revision
-- KEYS[2]  seats:{event}    string, one byte a seat
-- KEYS[3]  holds:{event}    hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}      sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}  hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}  stream of changes
-- ARGV[1]  version          the definition that the positions were taken from
-- ARGV[2]  hold_id          made by the caller; a repeat with the same id gets the same answer
-- ARGV[3]  client           the client that the seats count for
-- ARGV[4]  network          the network that they count for too, or ""
-- ARGV[5]  network_max      seats that one network may hold unpaid
-- ARGV[6]  amount_minor     the price of all of them
-- ARGV[7]  positions        "7,8,9", no duplicates
-- returns  held deadline_ms now_ms positions amount_minor
--        | seat_taken positions
--        | too_many_held held | too_many_held_by_network held
--        | sale_not_open wait_ms | sale_closed
--        | sweep_again | event_changed | event_closed | event_missing
-- A refusal writes nothing. seat_taken comes before too_many_held: it is true for every client, so
-- nginx may serve it to all of them.
local event_key, seats_key, holds_key, due_key, clients_key, journal_key = unpack(KEYS)
local version, hold_id, client, network, network_max, amount_minor, positions = unpack(ARGV)
-- include clock epoch positions seats journal clients end_hold sweep claim

local answer, now, hold_ms, max_held = admit(version, hold_id)
if answer then return answer end

positions = split_positions(positions)
local taken = {}
for _, position in ipairs(positions) do
  if seat_state(position) ~= '0' then
    taken[#taken + 1] = position
  end
end
if #taken > 0 then
  return {'seat_taken', table.concat(taken, ',')}
end
return claim(hold_id, client, network, amount_minor, positions, now, hold_ms, max_held,
  network_max)
