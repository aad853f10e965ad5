-- close_sale: close the sale of an event at once, or open it again, whatever its file says.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- ARGV[1]  closes            1 to close it, 0 to open it again
-- returns  closed | opened | unchanged | event_missing
-- Live holds may still be paid. A lost event is rebuilt without this: the file is the truth.
local event_key = unpack(KEYS)
local closes = unpack(ARGV)
-- include clock

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
if closes == '1' then
  if redis.call('HEXISTS', event_key, 'sale_closed') == 1 then return {'unchanged'} end
  redis.call('HSET', event_key, 'sale_closed', now_ms())
  return {'closed'}
end
if redis.call('HDEL', event_key, 'sale_closed') == 0 then return {'unchanged'} end
return {'opened'}
