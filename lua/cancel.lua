#!lua flags=allow-oom
-- Cancels a booking in PENDING or CONFIRMED and gives its units back. Said again: the present
-- state. A hold that is due already is ended as expired, whoever cancels it.
-- keys:     meta
-- derives:  journal stock customers deadlines due finished booking tombstone
-- args:     generation seen booking_id customer_id reason trace
-- outcomes: fenced absent evicted invalid_state unchanged cancelled
-- entries:  cancelled expired
-- @include keys
-- @include lib/partition
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/demand
-- @include lib/move
-- @include lib/forget_units
-- @include lib/end_booking
-- @include lib/repair_due
-- @include lib/find_booking
-- @include lib/reply
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking, refusal = find_booking(partition, ARGV[3], ARGV[4])
if not booking then
  return refusal
end
if booking.status == 'CANCELLED' then
  return booking_reply('unchanged', partition, booking)
end
if booking.status == 'COMPLETED' then
  return booking_reply('invalid_state', partition, booking)
end
local pending = booking.status == 'PENDING'
if pending and booking.hold_expires_ms <= partition.now_ms then
  end_booking(partition, booking, 'expired', 'expired', ARGV[6])
else
  end_booking(partition, booking, 'cancelled', ARGV[5], ARGV[6])
end
if pending then
  repair_due(booking.sale_id)
end
return booking_reply('cancelled', partition, booking)
