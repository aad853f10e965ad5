-- How many seats the first read takes; each further read takes twice as many.
local FIRST_WINDOW = 256

-- The part of the seat string read last.
local window, window_start, window_finish, window_length = '', 0, 0, FIRST_WINDOW

-- The first place at or after `from` with `count` free seats in a row of the string, all of them
-- before `finish`, or nil. Most searches end soon, so the string is read in windows that grow.
local function find_free(count, from, finish)
  local run = string.rep('0', count)
  while from + count <= finish do
    if from < window_start then window_length = FIRST_WINDOW end -- another search
    if from < window_start or from + count > window_finish then
      window_start, window_finish = from, math.min(from + window_length + count, finish)
      window = redis.call('GETRANGE', seats_key, window_start, window_finish - 1)
      window_length = window_length * 2
      if #window < window_finish - window_start then error('event_broken: seats') end
    end
    local at = string.find(window, run, from - window_start + 1, true) -- Lua counts from 1
    if at then return window_start + at - 1 end
    from = window_finish - count + 1
  end
end
