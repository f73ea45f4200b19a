-- Cancels a booking in PENDING or CONFIRMED for a reason, with its entry, and gives its units
-- back. The caller has checked that it may, and has already set what becomes of the payment: its
-- fields are written too. Returns the booking as it is now.
local function end_booking(partition, booking, kind, reason, trace)
  local order, units, total = demand_of(booking.lines)
  local from = booking.status == 'PENDING' and 'held' or 'sold'
  local plan = plan_move(booking.sale_id, order, units, from, 'available')
  step_booking(partition, booking)
  booking.status = 'CANCELLED'
  booking.cancel_reason = reason
  local sequence = append(partition, booking_entry(kind, booking, plan.deltas, plan.levels, trace))
  apply_move(plan)
  forget_units(booking.sale_id, booking.customer_id, total)
  redis.call('ZREM', key_deadlines(booking.sale_id), booking.booking_id)
  local fields = {'status', 'cancel_reason'}
  if booking.payment_status then
    fields = {'status', 'cancel_reason', 'payment_status', 'payment_step', 'payment_capture_id'}
  end
  save_booking(booking, sequence, fields)
  redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking.booking_id)
  return booking
end
