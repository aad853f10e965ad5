-- A hold stores the outcome of each idempotency key whose payment failed, so that losing only the
-- receipt loses no answer. hold.keys, newest last: {digest, fingerprint, outcome} for a key
-- that was refused, {digest, given_back} for one that may be used again.
local ANSWERS_KEPT = 10

local function recalled(hold, digest)
  for _, key in ipairs(hold.keys or {}) do
    if key.digest == digest then return key end
  end
end

local function remember(hold, key)
  local keys = {}
  for _, other in ipairs(hold.keys or {}) do
    if other.digest ~= key.digest then keys[#keys + 1] = other end
  end
  if #keys == ANSWERS_KEPT then table.remove(keys, 1) end
  keys[#keys + 1] = key
  hold.keys = keys
end
