-- An event that was rebuilt, or has lost a part of its history, begins an epoch. The ids of holds
-- end with the epoch that they were made in: `hld_<random>_<epoch>`, without one from a former
-- release. Of a hold of a former epoch that is not there nobody can say that nothing was charged
-- before `unsure_until_ms`: its payment may have had its last look at Redis before the loss, and be
-- booked after it. As long as the epoch is `unsettled` there may be money reserved for it, besides, of
-- which nobody knows yet.
local function epoch_of(hold_id) return string.match(hold_id, '_%x+_(%x+)$') end
