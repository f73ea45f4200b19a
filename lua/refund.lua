#!lua flags=allow-oom
-- An operator refunds a captured payment, whole. A confirmed booking is cancelled with it and gives
-- its units back; a completed one was used up and stays. Said again: the present state.
-- keys:     meta
-- derives:  journal stock customers deadlines finished booking tombstone payments retired
-- args:     generation seen booking_id trace
-- outcomes: fenced sale_retired absent evicted invalid_state unchanged refund_begun
-- entries:  refund_begun
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
-- @include lib/find_booking
-- @include lib/reply
-- @include lib/retired
-- @include lib/sale_retired_reply
-- @include lib/schedule
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id = ARGV[3]
local booking, refusal = find_booking(partition, booking_id, '')
if not booking then
  return refusal
end
if booking.payment_step == 'refund' or booking.payment_status == 'REFUNDED' then
  return booking_reply('unchanged', partition, booking)
end
if booking.payment_status ~= 'CAPTURED' then
  return booking_reply('invalid_state', partition, booking)
end
if is_retired(booking.sale_id) then
  return sale_retired_reply(partition, booking.sale_id)
end
booking.payment_status = 'REFUNDING'
booking.payment_step = 'refund'
if booking.status == 'CONFIRMED' then
  end_booking(partition, booking, 'refund_begun', 'operator', ARGV[4])
else
  step_booking(partition, booking)
  local sequence = append(partition, booking_entry('refund_begun', booking, '', '', ARGV[4]))
  save_booking(booking, sequence, {'payment_status', 'payment_step'})
end
schedule_payment(partition, booking_id, 0)
return booking_reply('refund_begun', partition, booking)
