-- Whether the event is cancelled. Its sale closed before all times then, so that an older release keeps
-- it closed, too.
local function is_cancelled() return redis.call('HGET', event_key, 'closes_at_ms') == '0' end
