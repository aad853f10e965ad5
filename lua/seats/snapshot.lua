-- snapshot: read everything of an event except its journal at one moment, for the audit.
-- KEYS[1]  event:{event}     hash, the definition and the revision
-- KEYS[2]  seats:{event}     string, one byte a seat
-- KEYS[3]  holds:{event}     hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}       sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}   hash client or network -> seats it holds unpaid
-- KEYS[6]  payments:{event}  sorted set, hold_id of payments under way, by lease
-- ARGV[1]  version           the definition by which the caller will name the positions
-- returns  everything now_ms revision sale_closed_ms map holds due clients payments
--        | event_changed | event_closed | event_missing
-- The last four are flat lists: name, value, name, value. sale_closed_ms is "" unless close_sale has
-- closed the sale.
local event_key, seats_key, holds_key, due_key, clients_key, payments_key = unpack(KEYS)
local version = unpack(ARGV)
-- include clock

local event = redis.call('HMGET', event_key, 'version', 'closed', 'revision', 'sale_closed')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end
if event[1] ~= version then return {'event_changed'} end
local map = redis.call('GET', seats_key)
if not map then error('event_broken: seats') end
return {'everything', now_ms(), event[3], event[4] or '', map,
  redis.call('HGETALL', holds_key), redis.call('ZRANGE', due_key, 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', clients_key), redis.call('ZRANGE', payments_key, 0, -1, 'WITHSCORES')}
