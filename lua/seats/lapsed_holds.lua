-- lapsed_holds: list the holds whose payment has not ended within its lease.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[3]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- returns  lapsed hold_ids at_bank_ids | event_missing
-- at_bank_ids are those of hold_ids whose payment has to be confirmed at the bank.
local event_key, holds_key, payments_key = unpack(KEYS)
-- include clock

if redis.call('EXISTS', event_key) == 0 then return {'event_missing'} end
local lapsed, at_bank = redis.call('ZRANGEBYSCORE', payments_key, '-inf', now_ms()), {}
for _, hold_id in ipairs(lapsed) do
  local known = redis.call('HGET', holds_key, hold_id)
  if known and cjson.decode(known).bank then table.insert(at_bank, hold_id) end
end
return {'lapsed', lapsed, at_bank}
