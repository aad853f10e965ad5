-- The checks before every hold: the caller's definition must be current, the sale must be open, and
-- expired holds are swept first so that they block nobody. Returns the answer that ends the call; or
-- nil, the time, and the event's hold_ms and max_held.
local function admit(version, hold_id)
  local event = redis.call('HMGET', event_key,
    'version', 'closed', 'opens_at_ms', 'hold_ms', 'max_held', 'epoch', 'closes_at_ms', 'sale_closed')
  if not event[1] then return {'event_missing'} end
  if event[2] then return {'event_closed'} end
  if event[1] ~= version then return {'event_changed'} end
  if not (event[3] and event[4] and event[5]) then error('event_broken: event') end

  local now = now_ms()
  local known = redis.call('HGET', holds_key, hold_id)
  if known then -- redis-py sends a call again when the reply to it was lost
    local hold = cjson.decode(known)
    return {'held', hold.deadline_ms, now, table.concat(hold.seats, ','), hold.amount_minor}
  end
  -- The id names an earlier epoch: its hold would look as if it had been made before the loss.
  local epoch = epoch_of(hold_id)
  if epoch and event[6] and epoch ~= event[6] then return {'event_changed'} end
  if now < tonumber(event[3]) then
    return {'sale_not_open', tonumber(event[3]) - now}
  end
  local closes_at_ms = tonumber(event[7] or '') -- events opened by an older release have none
  if event[8] or (closes_at_ms and now >= closes_at_ms) then return {'sale_closed'} end
  if sweep(now) == SWEEP_LIMIT then return {'sweep_again'} end
  return nil, now, tonumber(event[4]), tonumber(event[5])
end

-- Stores a new hold, or returns why this client can have none. The seats are known to be free.
-- `network_max` is an argument because an event opened by an older release has no such field.
local function claim(
  hold_id, client, network, amount_minor, positions, now, hold_ms, max_held, network_max)
  local held = tonumber(redis.call('HGET', clients_key, client) or 0)
  if held + #positions > max_held then
    return {'too_many_held', held}
  end
  if network ~= '' then
    local held_by_network = tonumber(redis.call('HGET', clients_key, network) or 0)
    if held_by_network + #positions > tonumber(network_max) then
      return {'too_many_held_by_network', held_by_network}
    end
  end
  local deadline_ms = now + hold_ms
  local hold = {
    seats = positions,
    amount_minor = tonumber(amount_minor),
    client = client,
    network = network ~= '' and network or nil,
    deadline_ms = deadline_ms,
    state = 'held',
    attempt = 0,
    refused = 0,
  }
  set_seats(positions, 'h')
  redis.call('HSET', holds_key, hold_id, cjson.encode(hold))
  redis.call('ZADD', due_key, deadline_ms, hold_id)
  count_seats(hold, #positions)
  record('held', hold_id, positions)
  return {'held', deadline_ms, now, table.concat(positions, ','), tonumber(amount_minor)}
end
