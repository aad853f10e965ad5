-- An event that was built anew, or has lost a part of its history, begins an epoch. The ids of holds
-- end with the epoch that they were made in: `hld_<random>_<epoch>`, without one from a former
-- release. Of a hold of a former epoch that is not there nobody can say that nothing was charged
-- before `unsure_until_ms`: its payment may have had its last look at Redis before the loss, and be
-- booked after it.
local function begin_epoch(revision, unsure_ms)
  redis.call('HSET', event_key, 'epoch', string.format('%06x', revision % 0x1000000),
    'unsure_until_ms', now_ms() + unsure_ms)
end

local function epoch_of(hold_id) return string.match(hold_id, '_%x+_(%x+)$') end
