-- claim_lapsed_payment: take over one payment whose lease has run out, with a new lease.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  version           the definition by which the caller will name the positions
-- ARGV[2]  lease_ms          for this time nobody else takes it over
-- returns  claimed hold_id hold_json | none | event_changed | event_missing
local event_key, holds_key, payments_key = unpack(KEYS)
local version, lease_ms = unpack(ARGV)
-- include clock take_over

local known_version = redis.call('HGET', event_key, 'version')
if not known_version then return {'event_missing'} end
if known_version ~= version then return {'event_changed'} end

local now = now_ms()
local lapsed = redis.call('ZRANGEBYSCORE', payments_key, '-inf', now, 'LIMIT', 0, 1)
local hold_id = lapsed[1]
if not hold_id then return {'none'} end
local known = redis.call('HGET', holds_key, hold_id)
if not known then error('event_broken: holds') end
return {'claimed', hold_id, take_over(hold_id, cjson.decode(known), lease_ms)}
