-- The idempotency record of a hold: its fingerprint and, of the first answer, what neither the record's
-- name says nor every hold has in common. A quarter of the answer's length, kept for 24 hours.
local function hold_record(fingerprint, booking)
  return string.format('%s %s %s %d %s %d %d', fingerprint, booking.booking_id, booking.lines, booking.amount,
    booking.currency, booking.hold_expires_ms, booking.created_ms)
end

-- A booking as it is when it is held.
local function new_hold(booking_id, sale_id, customer_id, lines, amount, currency, hold_expires_ms,
    created_ms)
  return {
    booking_id = booking_id,
    version = 1,
    sale_id = sale_id,
    customer_id = customer_id,
    status = 'PENDING',
    lines = lines,
    amount = amount,
    currency = currency,
    hold_expires_ms = hold_expires_ms,
    created_ms = created_ms,
    updated_ms = created_ms,
    extended = 0,
  }
end

-- Looks a hold's record up. Returns the reply where there is one, else nil.
local function replay_hold(partition, record_key, fingerprint, sale_id, customer_id)
  local reply = replay_reply(partition, record_key, fingerprint)
  if reply and reply[1] == 'replayed' then
    local booking_id, lines, amount, currency, hold_expires_ms, created_ms =
      string.match(reply[3], '^(%S+) (%S+) (%d+) (%S+) (%d+) (%d+)$')
    reply[3] = booking_json(new_hold(booking_id, sale_id, customer_id, lines, tonumber(amount), currency,
      tonumber(hold_expires_ms), tonumber(created_ms)))
  end
  return reply
end
