-- The reply that has the caller bring it back, and ask again.
local function sale_retired_reply(partition, sale_id)
  return {'sale_retired', partition.sequence, sale_id, redis.call('HGET', key_retired(), sale_id)}
end
