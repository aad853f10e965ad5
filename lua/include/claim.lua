-- Writes a new hold down, or says why this client can have none. The seats are known to be free.
local function claim(hold_id, client, amount_minor, positions, now, hold_ms, max_held)
  local held = tonumber(redis.call('HGET', clients_key, client) or 0)
  if held + #positions > max_held then
    return {'too_many_held', held}
  end
  local deadline_ms = now + hold_ms
  set_seats(positions, 'h')
  redis.call('HSET', holds_key, hold_id, cjson.encode({
    seats = positions,
    amount_minor = tonumber(amount_minor),
    client = client,
    deadline_ms = deadline_ms,
    state = 'held',
    attempt = 0,
    refused = 0,
  }))
  redis.call('ZADD', due_key, deadline_ms, hold_id)
  redis.call('HINCRBY', clients_key, client, #positions)
  record('held', hold_id, positions)
  return {'held', deadline_ms, now, table.concat(positions, ',')}
end

-- The answer to a repeated call: redis-py re-sends a script whose answer was lost on the way.
local function claimed_before(hold_id, now)
  local known = redis.call('HGET', holds_key, hold_id)
  if not known then
    return false
  end
  local hold = cjson.decode(known)
  return {'held', hold.deadline_ms, now, table.concat(hold.seats, ',')}
end
