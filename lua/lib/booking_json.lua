-- The members of a booking's JSON object, without braces: what entries, idempotency records and
-- replies carry. Ids, lines and codes hold only characters that JSON need not escape.
local function quoted(text)
  return text and text ~= '' and '"' .. text .. '"' or 'null'
end

-- The payment's object, null before the first attempt. `payment_next_action` is JSON already.
local function payment_json(booking)
  if not booking.payment_status then
    return 'null'
  end
  local next_action = booking.payment_next_action
  return string.format(
    '{"status":"%s","step":"%s","attempt":%d,"gateway":"%s","method":"%s","return_url":%s,'
      .. '"key":"%s","fingerprint":"%s","begun_ms":%d,"authorization_id":%s,"capture_id":%s,'
      .. '"decline_code":%s,"next_action":%s}',
    booking.payment_status, booking.payment_step, booking.payment_attempt, booking.payment_gateway,
    booking.payment_method, quoted(booking.payment_return_url), booking.payment_key,
    booking.payment_fingerprint, booking.payment_begun_ms, quoted(booking.payment_authorization_id),
    quoted(booking.payment_capture_id), quoted(booking.payment_decline_code),
    next_action and next_action ~= '' and next_action or 'null')
end

local function booking_members(booking)
  return string.format(
    '"booking_id":"%s","version":%d,"sale_id":"%s","customer_id":"%s","status":"%s",'
      .. '"cancel_reason":%s,"lines":"%s","amount":%d,"currency":"%s","hold_expires_ms":%d,'
      .. '"created_ms":%d,"updated_ms":%d,"extended":%d,"warned":%d,"payment":%s',
    booking.booking_id, booking.version, booking.sale_id, booking.customer_id, booking.status,
    quoted(booking.cancel_reason), booking.lines, booking.amount, booking.currency,
    booking.hold_expires_ms, booking.created_ms, booking.updated_ms, booking.extended,
    booking.warned or 0,
    payment_json(booking))
end

local function booking_json(booking)
  return '{' .. booking_members(booking) .. '}'
end
