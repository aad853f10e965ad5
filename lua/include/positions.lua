-- Seat positions travel as text, "7,8,9", counted from 0 in layout order.
local function split_positions(text)
  local positions = {}
  for position in string.gmatch(text, '%d+') do
    positions[#positions + 1] = tonumber(position)
  end
  return positions
end
