-- Finds the booking that a call names. A booking of another customer than `customer_id` (empty:
-- anybody's) is as absent as one that never was, but says `other_customer`, so that nobody looks for
-- it in PostgreSQL; `evicted` where a tombstone tells that it was here. While its sale is frozen (for
-- a rebuild of that sale alone) it is fenced, and so is one that is not there while any sale is.
-- Returns the booking, or nil and the reply.
local function find_booking(partition, booking_id, customer_id)
  local booking = read_booking(booking_id)
  if not booking and partition.frozen then
    -- Its hash may be on its way.
    return nil, {'fenced', -1, 'sale_frozen'}
  elseif not booking then
    local version = redis.call('GET', key_tombstone(booking_id))
    return nil, {version and 'evicted' or 'absent', partition.sequence, version or ''}
  end
  if partition.frozen == booking.sale_id then
    return nil, {'fenced', -1, 'sale_frozen'}
  end
  if customer_id ~= '' and booking.customer_id ~= customer_id then
    return nil, {'absent', partition.sequence, 'other_customer'}
  end
  return booking
end
