-- Cancels a booking in PENDING or CONFIRMED for a reason, with its entry, and gives its units
-- back. The caller has checked that it may. Returns the booking as it is now.
local function end_booking(partition, booking, kind, reason, trace)
  local order, units, total = demand_of(booking.lines)
  local from = booking.status == 'PENDING' and 'held' or 'sold'
  local plan = plan_move(booking.sale_id, order, units, from, 'available')
  booking.version = booking.version + 1
  booking.status = 'CANCELLED'
  booking.cancel_reason = reason
  booking.updated_ms = partition.now_ms
  local sequence = append(partition, booking_entry(kind, booking, plan.deltas, plan.levels, trace))
  apply_move(plan)
  forget_units(booking.sale_id, booking.customer_id, total)
  redis.call('ZREM', key_deadlines(booking.sale_id), booking.booking_id)
  redis.call('HSET', key_booking(booking.booking_id),
    'status', booking.status,
    'cancel_reason', reason,
    'version', string.format('%d', booking.version),
    'updated_ms', string.format('%d', booking.updated_ms),
    'sequence', string.format('%d', sequence))
  redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking.booking_id)
  return booking
end
