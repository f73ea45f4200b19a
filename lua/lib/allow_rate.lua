-- A token bucket per customer by the generic cell rate algorithm: one call each `interval_us`,
-- `burst_us` ahead of it at the most. Integers only. Writes nothing.
-- Returns the new arrival time in us (nil where rates are off), or nil and the us to wait.
local function plan_rate(partition, customer_id, interval_us, burst_us)
  if interval_us == 0 then
    return nil
  end
  local arrival_us = tonumber(redis.call('GET', key_rate(customer_id)) or 0)
  -- Further ahead than it may ever be: the server's clock stepped back, or the limit was lowered.
  if arrival_us < partition.now_us or arrival_us > partition.now_us + burst_us then
    arrival_us = partition.now_us
  end
  local ahead_us = arrival_us + interval_us - partition.now_us
  if ahead_us > burst_us then
    return nil, ahead_us - burst_us
  end
  return arrival_us + interval_us
end

local function spend_rate(partition, customer_id, arrival_us)
  if arrival_us then
    local ttl_ms = math.ceil((arrival_us - partition.now_us) / 1000)
    redis.call('SET', key_rate(customer_id), string.format('%d', arrival_us),
      'PX', string.format('%d', ttl_ms))
  end
end
