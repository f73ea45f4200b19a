-- For how many ms what is sold out stays so if nobody changes anything: until the next hold of the
-- sale is due, or the sale closes. 0 where a cap makes the answer one customer's own.
local function unchanged_ms(partition, sale_id, closes_ms, cap)
  if cap > 0 then
    return 0
  end
  local next_due = redis.call('ZRANGEBYSCORE', key_deadlines(sale_id),
    string.format('(%d', partition.now_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local until_ms = tonumber(next_due[2] or partition.now_ms + 1000)
  if closes_ms > 0 then
    until_ms = math.min(until_ms, closes_ms)
  end
  return until_ms - partition.now_ms
end
