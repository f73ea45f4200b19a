#!lua flags=allow-oom
-- Cancels a booking in PENDING or CONFIRMED and gives its units back. Said again: the present
-- state. A hold that is due already is ended as expired, whoever cancels it, but not under payment.
-- Late money may take new units for what has expired, and never after a cancel, so that what has
-- expired while an authorization is under way is cancelled too.
-- keys:     meta
-- derives:  journal stock customers deadlines due finished booking tombstone payments retired
-- args:     generation seen booking_id customer_id reason trace
-- outcomes: fenced sale_retired absent evicted invalid_state unchanged cancelled
-- entries:  cancelled expired
-- @include keys
-- @include lib/partition
-- @include lib/lost
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/save
-- @include lib/demand
-- @include lib/move
-- @include lib/forget_units
-- @include lib/end_booking
-- @include lib/repair_due
-- @include lib/find_booking
-- @include lib/reply
-- @include lib/retired
-- @include lib/sale_retired_reply
-- @include lib/schedule
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking, refusal = find_booking(partition, ARGV[3], ARGV[4])
if not booking then
  return refusal
end
if booking.status == 'CANCELLED' then
  if booking.cancel_reason ~= 'expired' or booking.payment_step ~= 'authorize' then
    return booking_reply('unchanged', partition, booking)
  end
  -- Its units are back already.
  step_booking(partition, booking)
  booking.cancel_reason = ARGV[5]
  local sequence = append(partition, booking_entry('cancelled', booking, '', '', ARGV[6]))
  save_booking(booking, sequence, {'cancel_reason'})
  redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking.booking_id)
  return booking_reply('cancelled', partition, booking)
end
if booking.status == 'COMPLETED' then
  return booking_reply('invalid_state', partition, booking)
end
if is_retired(booking.sale_id) then
  return sale_retired_reply(partition, booking.sale_id)
end
local pending = booking.status == 'PENDING'
-- What becomes of the payment: an authorization under way is voided when its answer comes, a
-- capture under way is voided or refunded, captured money is refunded. The saga sees to it.
local open = booking.payment_step ~= nil and booking.payment_step ~= 'none'
if booking.payment_status == 'CAPTURED' then
  booking.payment_status = 'REFUNDING'
  booking.payment_step = 'refund'
  open = true
elseif booking.payment_step == 'capture' then
  booking.payment_status = 'AUTHORIZED'
  booking.payment_step = 'void'
end
if pending and not open and booking.deadline_ms <= partition.now_ms then
  end_booking(partition, booking, 'expired', 'expired', ARGV[6])
else
  end_booking(partition, booking, 'cancelled', ARGV[5], ARGV[6])
end
if pending then
  repair_due(booking.sale_id)
end
if open then
  schedule_payment(partition, booking.booking_id, 0)
end
return booking_reply('cancelled', partition, booking)
