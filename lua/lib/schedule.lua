-- When a worker shall look at the payment; 0 is at once.
local function schedule_payment(partition, booking_id, in_ms)
  redis.call('ZADD', key_payments(), string.format('%d', partition.now_ms + in_ms), booking_id)
end
