-- read_seats: read the whole seat map, unless it is still as the caller knows it.
-- KEYS[1]  event:{event}    hash, the definition and the revision
-- KEYS[2]  seats:{event}    string, one byte a seat
-- KEYS[3]  holds:{event}    hash hold_id -> hold (JSON)
-- KEYS[4]  due:{event}      sorted set, hold_id by deadline
-- KEYS[5]  clients:{event}  hash client or network -> seats it holds unpaid
-- KEYS[6]  journal:{event}  stream of changes
-- ARGV[1]  known_revision   the revision that the caller has, or ""
-- returns  seats revision map version | unchanged revision
--        | sweep_again | event_closed | event_missing
local event_key, seats_key, holds_key, due_key, clients_key, journal_key = unpack(KEYS)
local known_revision = unpack(ARGV)
-- include clock seats journal clients end_hold sweep

local event = redis.call('HMGET', event_key, 'version', 'closed', 'seat_count')
if not event[1] then return {'event_missing'} end
if event[2] then return {'event_closed'} end
if sweep(now_ms()) == SWEEP_LIMIT then return {'sweep_again'} end

local revision = redis.call('HGET', event_key, 'revision') -- the sweep may have raised it
if not revision then error('event_broken: event') end
if revision == known_revision then return {'unchanged', revision} end
local map = redis.call('GET', seats_key)
if not map or #map ~= tonumber(event[3] or #map) then error('event_broken: seats') end
return {'seats', revision, map, event[1]}
