-- `carried_over` lists the holds whose payments are under way when the epoch begins. A payment for any
-- other hold of an earlier epoch is never booked, so its buyer can be told that nothing was charged.
local function begin_epoch(revision, unsure_ms, unsettled)
  redis.call('HSET', event_key, 'epoch', string.format('%06x', revision % 0x1000000),
    'unsure_until_ms', now_ms() + unsure_ms,
    'carried_over', table.concat(redis.call('ZRANGE', payments_key, 0, -1), ' '))
  if unsettled == '1' then redis.call('HSET', event_key, 'unsettled', '1') end
end
