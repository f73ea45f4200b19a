-- The members of a booking's JSON object, without braces: what entries, idempotency records and
-- replies carry. Ids, lines and codes hold only characters that JSON need not escape.
local function booking_members(booking)
  local reason = booking.cancel_reason
  return string.format(
    '"booking_id":"%s","version":%d,"sale_id":"%s","customer_id":"%s","status":"%s",'
      .. '"cancel_reason":%s,"lines":"%s","amount":%d,"currency":"%s","hold_expires_ms":%d,'
      .. '"created_ms":%d,"updated_ms":%d,"extended":%d',
    booking.booking_id, booking.version, booking.sale_id, booking.customer_id, booking.status,
    reason and '"' .. reason .. '"' or 'null', booking.lines, booking.amount, booking.currency,
    booking.hold_expires_ms, booking.created_ms, booking.updated_ms, booking.extended)
end

local function booking_json(booking)
  return '{' .. booking_members(booking) .. '}'
end
