-- limit_clients: decide which clients may make a request now, many in one round trip.
-- KEYS[n]      accepted:{limiter}:<limit>/<window_us>:<client>
--                          string, when the last accepted requests were: 8 bytes each, µs, oldest first
-- ARGV[3n-2]   command     "hit" decides and counts, "peek" tells what a hit would meet
-- ARGV[3n-1]   limit       at most so many requests ...
-- ARGV[3n]     window_us   ... in any window of this length
-- returns      a line "<verdict> <remaining> <reset_us>" for each key, joined by line feeds;
--              verdict is "allowed" | "denied", the rest as in sidecar/sliding_log.py
-- Why a log and no counter: only a log is exact. Why Redis's clock: the hosts' clocks differ.
-- A client that is not heard of for a window costs nothing, its key expires.
-- The clock may be set back, or be behind after a failover. Up to a window, time stands still for
-- the client until the clock has caught up; more would lock it out, so its log is forgotten.
local MOMENT = '>I8'
local MOMENT_BYTES = 8
local clock = redis.call('TIME')
local clock_us = clock[1] * 1000000 + clock[2]

local function moment_at(moments, index)
    return (struct.unpack(MOMENT, moments, index * MOMENT_BYTES + 1))
end

-- How many of the count moments are not after start_us, by bisection.
local function count_until(moments, count, start_us)
    local low, high = 0, count
    while low < high do
        local middle = math.floor((low + high) / 2)
        if moment_at(moments, middle) > start_us then high = middle else low = middle + 1 end
    end
    return low
end

local function decide(accepted_key, command, limit, window_us)
    local moments = redis.call('GET', accepted_key) or ''
    local count = #moments / MOMENT_BYTES
    local now_us = clock_us
    if count > 0 then
        local last_us = moment_at(moments, count - 1)
        if last_us > clock_us + window_us then
            moments, count = '', 0
        elseif last_us > clock_us then
            now_us = last_us
        end
    end
    local gone = count_until(moments, count, now_us - window_us)
    local used = count - gone
    local verdict = used < limit and 'allowed' or 'denied'
    moments = string.sub(moments, gone * MOMENT_BYTES + 1)
    if verdict == 'allowed' and command == 'hit' then
        moments = moments .. struct.pack(MOMENT, now_us)
        used = used + 1
        local life_ms = math.ceil((now_us + window_us - clock_us) / 1000)
        redis.call('SET', accepted_key, moments, 'PX', life_ms)
    end
    local reset_us = used > 0 and moment_at(moments, 0) + window_us - now_us or 0
    return string.format('%s %d %d', verdict, limit - used, reset_us)
end

local lines = {}
for n, accepted_key in ipairs(KEYS) do
    local command, limit, window_us = unpack(ARGV, 3 * n - 2, 3 * n)
    lines[n] = decide(accepted_key, command, tonumber(limit), tonumber(window_us))
end
return table.concat(lines, '\n')
