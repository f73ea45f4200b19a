#!lua flags=allow-oom
-- The gateway has refunded: the money is back.
-- keys:     meta
-- derives:  journal finished booking tombstone payments lease
-- args:     generation seen booking_id owner attempt trace
-- outcomes: fenced absent evicted lease_lost moved_on refunded
-- entries:  refunded
-- @include keys
-- @include lib/partition
-- @include lib/lost
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/save
-- @include lib/find_booking
-- @include lib/reply
-- @include lib/lease
-- @include lib/find_payment
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id = ARGV[3]
local booking, refusal = find_payment(partition, booking_id, ARGV[4], ARGV[5], {'refund'})
if not booking then
  return refusal
end
step_booking(partition, booking)
booking.payment_status = 'REFUNDED'
booking.payment_step = 'none'
local sequence = append(partition, booking_entry('refunded', booking, '', '', ARGV[6]))
save_booking(booking, sequence, {'payment_status', 'payment_step'})
rest_payment(booking_id)
redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking_id)
return booking_reply('refunded', partition, booking)
