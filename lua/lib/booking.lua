-- Reads a booking's hash into a table with numbers as numbers; nil where there is none.
local function read_booking(booking_id)
  local flat = redis.call('HGETALL', key_booking(booking_id))
  if #flat == 0 then
    return nil
  end
  local booking = {booking_id = booking_id}
  for i = 1, #flat, 2 do
    booking[flat[i]] = flat[i + 1]
  end
  for _, field in ipairs({'version', 'amount', 'hold_expires_ms', 'created_ms', 'updated_ms',
      'extended', 'sequence'}) do
    booking[field] = tonumber(booking[field])
  end
  return booking
end
