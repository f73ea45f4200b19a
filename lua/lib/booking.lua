-- Reads a booking's hash into a table with numbers as numbers; nil where there is none.
local function read_booking(booking_id)
  local flat = redis.call('HGETALL', key_booking(booking_id))
  if #flat == 0 then
    return nil
  end
  local booking = {booking_id = booking_id}
  for i = 1, #flat, 2 do
    -- Empty text is how a field that is gone is kept.
    booking[flat[i]] = flat[i + 1] ~= '' and flat[i + 1] or nil
  end
  for _, field in ipairs({'version', 'amount', 'hold_expires_ms', 'created_ms', 'updated_ms',
      'extended', 'warned', 'sequence', 'deadline_ms', 'payment_attempt', 'payment_begun_ms'}) do
    booking[field] = tonumber(booking[field])
  end
  -- A hold from before there were payments has no other deadline.
  booking.deadline_ms = booking.deadline_ms or booking.hold_expires_ms
  return booking
end
