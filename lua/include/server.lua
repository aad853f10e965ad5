-- Identifies the history of writes that this server continues: another one when it was started again, or
-- when a replica took over. "" when it does not say.
local function server_id()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or ''
end

-- Whether Redis may have gone back in time since the worker saw the event: then what a payment did is lost
-- until the worker has put it back. An event opened by an older release has no such field.
local function may_have_gone_back()
  local known = redis.call('HGET', event_key, 'server')
  return known and known ~= '' and known ~= server_id()
end
