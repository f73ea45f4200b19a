-- Keeps the final answer of the attempt's pay request, for whoever sends its key again.
local function keep_answer(booking, ttl_ms)
  redis.call('SET', key_idempotency('pay', booking.booking_id, booking.payment_key, booking.customer_id),
    booking.payment_fingerprint .. ' ' .. booking_json(booking), 'PX', ttl_ms)
end
