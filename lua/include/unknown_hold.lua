-- What to say of a hold that is not there.
local function unknown_hold(hold_id)
  local event = redis.call('HMGET', event_key, 'epoch', 'unsure_until_ms')
  if event[2] and epoch_of(hold_id) ~= event[1] then
    local unsure_ms = tonumber(event[2]) - now_ms()
    if unsure_ms > 0 then return {'not_known_now', unsure_ms} end
  end
  return {'not_found'}
end
