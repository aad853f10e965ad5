-- Redis may lose one key of an event and keep the others: an operator deletes one, or a partial restore
-- leaves one out. Returns the key that shows it, or nil. Redis deletes a hash or a sorted set that
-- becomes empty, so a missing one proves nothing: the numbers of holds, deadlines, payments and clients
-- are compared with each other instead.
local function broken_part()
  if redis.call('TYPE', event_key).ok ~= 'hash' then return event_key end
  if redis.call('TYPE', seats_key).ok ~= 'string' then return seats_key end
  local function is_wrong(type, right) return type.ok ~= right and type.ok ~= 'none' end
  if is_wrong(redis.call('TYPE', holds_key), 'hash') then return holds_key end
  if is_wrong(redis.call('TYPE', due_key), 'zset') then return due_key end
  if is_wrong(redis.call('TYPE', clients_key), 'hash') then return clients_key end
  if is_wrong(redis.call('TYPE', payments_key), 'zset') then return payments_key end
  -- A missing journal is begun again without rebuilding the event.
  if is_wrong(redis.call('TYPE', journal_key), 'stream') then return journal_key end

  local event = redis.call('HMGET', event_key,
    'version', 'revision', 'opens_at_ms', 'hold_ms', 'max_held', 'seat_count')
  for at = 1, 5 do
    if not event[at] then return event_key end
  end
  if redis.call('HEXISTS', event_key, 'definition') == 0 then return event_key end
  local seats = redis.call('STRLEN', seats_key)
  if seats ~= tonumber(event[6] or seats) then return seats_key end -- older releases stored no count
  local holds = redis.call('HLEN', holds_key)
  if holds ~= redis.call('ZCARD', due_key) + redis.call('ZCARD', payments_key) then
    return holds_key
  end
  if (holds == 0) ~= (redis.call('HLEN', clients_key) == 0) then return clients_key end
  if holds == 0 then
    local map = redis.call('GET', seats_key)
    if string.find(map, 'h', 1, true) or string.find(map, 'p', 1, true) then return holds_key end
  end
end
