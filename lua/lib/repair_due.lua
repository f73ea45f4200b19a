-- Sets a sale's place in `due` to its earliest deadline, or removes it where no hold is left.
-- `due` may be early, never late: early costs the sweeper a look, late would lock stock.
local function repair_due(sale_id)
  local first = redis.call('ZRANGE', key_deadlines(sale_id), 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', key_due(), first[2], sale_id)
  else
    redis.call('ZREM', key_due(), sale_id)
  end
end
