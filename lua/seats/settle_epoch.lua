-- settle_epoch: note that no authorisation is left for a payment of an earlier epoch.
-- KEYS[1]  event:{event}  hash, the definition and the revision
-- ARGV[1]  epoch          the epoch that this was found for; an epoch begun since stays unsettled
-- returns  settled | event_missing
local event_key = unpack(KEYS)
local epoch = unpack(ARGV)

local known = redis.call('HGET', event_key, 'epoch')
if not known then return {'event_missing'} end
if known == epoch then redis.call('HDEL', event_key, 'unsettled') end
return {'settled'}
