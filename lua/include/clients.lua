-- Adds to the unpaid seats of a hold's client and of its network; `seats` is negative when the hold
-- ends. Holds of IPv4 clients, and those made by an older release, have no network.
local function count_seats(hold, seats)
  for _, counted in ipairs({hold.client, hold.network}) do
    if redis.call('HINCRBY', clients_key, counted, seats) <= 0 then
      redis.call('HDEL', clients_key, counted)
    end
  end
end
