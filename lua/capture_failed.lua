#!lua flags=allow-oom
-- The gateway refuses the capture for good: the booking is cancelled, its units go back once, and
-- the authorization will be voided.
-- keys:     meta
-- derives:  journal stock customers deadlines finished booking tombstone payments lease retired
-- args:     generation seen booking_id owner attempt decline_code trace
-- outcomes: fenced sale_retired absent evicted lease_lost moved_on cancelled
-- entries:  cancelled
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
-- @include lib/lease
-- @include lib/find_payment
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id = ARGV[3]
local booking, refusal = find_payment(partition, booking_id, ARGV[4], ARGV[5], {'capture'})
if not booking then
  return refusal
end
if is_retired(booking.sale_id) then
  return sale_retired_reply(partition, booking.sale_id)
end
booking.payment_status = 'AUTHORIZED'
booking.payment_step = 'void'
booking.payment_decline_code = ARGV[6]
end_booking(partition, booking, 'cancelled', 'payment_failed', ARGV[7])
redis.call('HSET', key_booking(booking_id), 'payment_decline_code', ARGV[6])
return booking_reply('cancelled', partition, booking)
