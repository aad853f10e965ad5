-- settle_epoch: no money is reserved any more for a payment of a former epoch.
-- KEYS[1]  event:{event}  hash, the definition and the revision
-- ARGV[1]  epoch          the epoch that it was found out for; a later one has to wait for its own
-- returns  settled | event_missing
local event_key = unpack(KEYS)
local epoch = unpack(ARGV)

local known = redis.call('HGET', event_key, 'epoch')
if not known then return {'event_missing'} end
if known == epoch then redis.call('HDEL', event_key, 'unsettled') end
return {'settled'}
