-- An event that was rebuilt, or has lost a part of its history, begins a new epoch. The id of a hold
-- ends with the epoch it was made in: `hld_<random>_<epoch>`; ids from older releases have none.
-- When a hold of an earlier epoch is missing, its buyer cannot be told "not charged" before
-- `unsure_until_ms`: its payment may have read Redis for the last time before the loss, and be booked
-- after it. While the epoch is `unsettled`, there may also be authorisations for such holds that
-- the worker has not found yet.
local function epoch_of(hold_id) return string.match(hold_id, '_%x+_(%x+)$') end
