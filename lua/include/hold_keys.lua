-- A hold remembers what became of the idempotency keys that paid nothing for it, so that the loss of a
-- receipt alone loses no answer. hold.keys has the newest last: {digest, fingerprint, outcome} of a key
-- that was refused, {digest, given_back} of one that may be used again.
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
