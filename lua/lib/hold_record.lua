-- The idempotency record of a hold: its fingerprint and, of the first answer, what neither the record's
-- name says nor every hold has in common. A quarter of the answer's length, kept for 24 hours.
local function hold_record(fingerprint, booking)
  return string.format('%s %s %s %d %s %d %d', fingerprint, booking.booking_id, booking.lines, booking.amount,
    booking.currency, booking.hold_expires_ms, booking.created_ms)
end

-- Looks a hold's record up. Returns the reply where there is one, else nil.
local function replay_hold(partition, record_key, fingerprint, sale_id, customer_id)
  local record = redis.call('GET', record_key)
  if not record then
    return nil
  end
  local kept = {}
  for word in string.gmatch(record, '%S+') do
    kept[#kept + 1] = word
  end
  if kept[1] ~= fingerprint then
    return {'idempotency_key_reused', partition.sequence, ''}
  end
  local created_ms = tonumber(kept[7])
  return {'replayed', partition.sequence, booking_json({
    booking_id = kept[2],
    version = 1,
    sale_id = sale_id,
    customer_id = customer_id,
    status = 'PENDING',
    lines = kept[3],
    amount = tonumber(kept[4]),
    currency = kept[5],
    hold_expires_ms = tonumber(kept[6]),
    created_ms = created_ms,
    updated_ms = created_ms,
    extended = 0,
  })}
end
