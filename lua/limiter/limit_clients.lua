-- limit_clients: decide for many clients at once whether each may make a request now, or when.
-- KEYS[1]      reset:{limiter}
--                          string, the µs of the last reset: requests up to then do not count
-- KEYS[n+1]    accepted:{limiter}:<limit>/<window_us>:<client>
--                          string, the times of the last accepted requests: 8 bytes each, µs,
--                          oldest first; for a "reset", reset:{limiter} again
-- KEYS[n+1]    places:{limiter}:<limit>/<window_us>:<queue>
--                          the same for a "place": string, the moment that the last caller without a
--                          place was told, then the last places, at most limit, oldest first
-- ARGV[3n-2]   command     a number from 1 to limit is a hit of that many requests: they are decided
--                          and counted, all or none; "peek" decides about one and counts nothing,
--                          "clear" forgets the client, "reset" forgets all clients;
--                          "then <hits>" is that hit if the command before it was allowed; if not,
--                          nothing is decided or counted;
--                          "place <max_wait_us>" takes the next place of the queue, if it is not
--                          more than that away
-- ARGV[3n-1]   limit       the most requests ...
-- ARGV[3n]     window_us   ... in any window of this length
-- returns      a line "<verdict> <remaining> <reset_us>" for each command, joined by line feeds;
--              verdict is "allowed" | "denied", the rest as in sidecar/sliding_log.py; to "clear" and
--              "reset" it is "cleared 0 0", to a "then" of which nothing was decided "denied 0 0",
--              to a place "<verdict> 0 <wait_us>" as in
--              sidecar/places.py
-- Why a log and not a counter: only a log is exact. Why Redis's clock: the hosts' clocks differ.
-- A client that sends nothing for a window uses no memory: its key expires.
-- The clock may be set back, or be behind after a failover. By up to a window: time stands still for
-- the client until the clock has caught up. By more: that would lock the client out, so its log is
-- deleted. A reset that lies in the future is then ignored: requests before it would not be counted.
-- A queue waits for the clock, too, or is deleted when its last place is further away than any may be.
-- Why a reset deletes nothing: that takes time in proportion to the clients, and everybody waits.
local MOMENT = '>I8'
local MOMENT_BYTES = 8
local LONGEST_WINDOW_MS = 86400000 -- by then every entry from before a reset has expired
local LONGEST_WAIT_US = 60000000 -- a place further away is from before the clock was set back
local reset_key = KEYS[1]
local clock = redis.call('TIME')
local clock_us = clock[1] * 1000000 + clock[2]
local forgotten_us = tonumber(redis.call('GET', reset_key) or 0)
if forgotten_us > clock_us then forgotten_us = 0 end

local function moment_at(moments, index)
    return (struct.unpack(MOMENT, moments, index * MOMENT_BYTES + 1))
end

-- How many of the `count` moments are at or before start_us, by binary search.
local function count_until(moments, count, start_us)
    local low, high = 0, count
    while low < high do
        local middle = math.floor((low + high) / 2)
        if moment_at(moments, middle) > start_us then high = middle else low = middle + 1 end
    end
    return low
end

local function decide(accepted_key, hits, limit, window_us)
    local amount = hits or 1
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
    local start_us = now_us - window_us
    if start_us < forgotten_us then start_us = forgotten_us end
    local gone = count_until(moments, count, start_us)
    local free = limit - (count - gone)
    local verdict = amount <= free and 'allowed' or 'denied'
    moments = string.sub(moments, gone * MOMENT_BYTES + 1)
    local leaves_next = 0
    if verdict == 'denied' then
        leaves_next = amount - free - 1 -- all of them fit as soon as this one has expired
    elseif hits then
        local moment = struct.pack(MOMENT, now_us)
        moments = moments .. (hits == 1 and moment or string.rep(moment, hits))
        free = free - amount
        local life_ms = math.ceil((now_us + window_us - clock_us) / 1000)
        redis.call('SET', accepted_key, moments, 'PX', life_ms)
    end
    local reset_us = free < limit and moment_at(moments, leaves_next) + window_us - now_us or 0
    return string.format('%s %d %d', verdict, free, reset_us)
end

local function take_place(places_key, max_wait_us, limit, window_us)
    local moments = redis.call('GET', places_key) or ''
    local count = #moments / MOMENT_BYTES - 1
    if count > 0 and moment_at(moments, count) > clock_us + LONGEST_WAIT_US then
        moments, count = '', -1
    end
    local told_us = count >= 0 and moment_at(moments, 0) or 0
    local places = string.sub(moments, MOMENT_BYTES + 1)
    local next_us = clock_us
    if count > 0 then next_us = math.max(next_us, moment_at(moments, count)) end
    if count == limit then
        next_us = math.max(next_us, moment_at(moments, 1) + window_us)
    end
    local wait_us = next_us - clock_us
    local verdict = wait_us <= max_wait_us and 'allowed' or 'denied'
    if verdict == 'allowed' then
        if count == limit then places = string.sub(places, MOMENT_BYTES + 1) end
        places = places .. struct.pack(MOMENT, next_us)
    else
        local pace_us = math.floor(window_us / limit)
        told_us = math.min(math.max(next_us, told_us + pace_us), clock_us + LONGEST_WAIT_US)
        wait_us = told_us - clock_us
    end
    local life_ms = math.ceil((math.max(next_us, told_us) + window_us - clock_us) / 1000)
    redis.call('SET', places_key, struct.pack(MOMENT, told_us) .. places, 'PX', life_ms)
    return string.format('%s 0 %d', verdict, wait_us)
end

local function clear(accepted_key)
    redis.call('DEL', accepted_key)
    return 'cleared 0 0'
end

-- Not the current µs: a request accepted in it may come after the reset.
local function reset()
    forgotten_us = clock_us - 1
    redis.call('SET', reset_key, string.format('%d', forgotten_us), 'PX', LONGEST_WINDOW_MS)
    return 'cleared 0 0'
end

local lines = {}
for n = 1, #KEYS - 1 do
    local key = KEYS[n + 1]
    local command, limit, window_us = unpack(ARGV, 3 * n - 2, 3 * n)
    local max_wait_us = string.match(command, '^place (%d+)$')
    local chained_hits = string.match(command, '^then (%d+)$')
    if chained_hits and string.sub(lines[n - 1], 1, #'allowed') ~= 'allowed' then
        lines[n] = 'denied 0 0'
    elseif max_wait_us then
        lines[n] = take_place(key, tonumber(max_wait_us), tonumber(limit), tonumber(window_us))
    elseif command == 'clear' then
        lines[n] = clear(key)
    elseif command == 'reset' then
        lines[n] = reset()
    else
        lines[n] = decide(key, tonumber(chained_hits or command), tonumber(limit), tonumber(window_us))
    end
end
return table.concat(lines, '\n')
