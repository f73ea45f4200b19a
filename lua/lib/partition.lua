-- Opens the partition of KEYS[1]: the fence of rule 5, and the clock of rule 3.
-- ARGV[1] is the generation the caller knows, ARGV[2] the highest sequence it has seen.
-- Returns the partition, or nil and the reply that refuses the call.
local function open_partition()
  local meta = redis.call('HMGET', KEYS[1], 'generation', 'sequence', 'last_ms', 'fenced', 'drained',
    'bytes', 'drained_bytes', 'oldest_ms', 'shed_until_ms', 'frozen')
  local reason
  if not meta[1] then
    reason = 'meta_missing'
  elseif meta[4] then
    reason = meta[4]
  elseif meta[1] ~= ARGV[1] then
    reason = 'generation'
  elseif tonumber(meta[2]) < tonumber(ARGV[2]) then
    reason = 'sequence'
  end
  if reason then
    return nil, {'fenced', -1, reason}
  end
  local time = redis.call('TIME')
  local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local now_ms = math.floor(now_us / 1000)
  local last_ms = tonumber(meta[3])
  -- A server whose clock stepped back must not make a hold live longer.
  if last_ms > now_ms then
    now_ms = last_ms
  end
  return {
    sequence = tonumber(meta[2]),
    drained = tonumber(meta[5]),
    bytes = tonumber(meta[6] or 0),
    drained_bytes = tonumber(meta[7] or 0),
    oldest_ms = tonumber(meta[8] or 0),
    shed_until_ms = tonumber(meta[9] or 0),
    frozen = meta[10],
    now_ms = now_ms,
    now_us = now_us,
  }
end
