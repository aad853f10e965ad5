-- How long to wait while the epoch is unsettled, until the worker has looked through the gateway's
-- payments.
local UNSETTLED_MS = 30000

-- How long to wait until the worker has opened the event again, when Redis may have gone back in time.
local UNSEEN_MS = 1000

-- The answer for a hold that is missing.
local function unknown_hold(hold_id)
  local event = redis.call('HMGET', event_key, 'epoch', 'unsure_until_ms', 'unsettled')
  if may_have_gone_back() then return {'not_known_now', UNSEEN_MS} end
  if event[2] and epoch_of(hold_id) ~= event[1] then
    local unsure_ms = event[3] and UNSETTLED_MS or tonumber(event[2]) - now_ms()
    if unsure_ms > 0 then return {'not_known_now', unsure_ms} end
  end
  return {'not_found'}
end
