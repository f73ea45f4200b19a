#!lua
-- Writes idempotency records into a partition that is being rebuilt, each until the time at which it
-- would have run out. Each is a JSON array of texts: operation, scope_id, key, customer_id,
-- expires_ms, and what it holds. Answers how many of them are there now, or have run out by now.
-- keys:     meta
-- derives:  idempotency
-- args:     generation token [record]...
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/rebuilding
local refusal = refuse_rebuild()
if refusal then
  return refusal
end
local there, time = 0, redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for i = 3, #ARGV do
  local record = cjson.decode(ARGV[i])
  local name = key_idempotency(record[1], record[2], record[3], record[4])
  redis.call('SET', name, record[6], 'PXAT', record[5])
  if redis.call('EXISTS', name) == 1 or tonumber(record[5]) <= now_ms then
    there = there + 1
  end
end
return {'done', -1, string.format('%d', there)}
