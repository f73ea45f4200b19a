#!lua flags=allow-oom
-- The gateway has captured: only now is the booking paid, and the buyer told. Money of a booking
-- that was cancelled meanwhile goes back.
-- keys:     meta
-- derives:  journal finished booking tombstone idempotency payments lease
-- args:     generation seen booking_id owner attempt capture_id idempotency_ttl_ms trace
-- outcomes: fenced absent evicted lease_lost moved_on captured refund_begun
-- entries:  captured refund_begun
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
-- @include lib/keep_answer
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id = ARGV[3]
local booking, refusal = find_payment(partition, booking_id, ARGV[4], ARGV[5], {'capture', 'void'})
if not booking then
  return refusal
end
local live = booking.status ~= 'CANCELLED'
step_booking(partition, booking)
booking.payment_capture_id = ARGV[6]
booking.payment_status = live and 'CAPTURED' or 'REFUNDING'
booking.payment_step = live and 'none' or 'refund'
local outcome = live and 'captured' or 'refund_begun'
local sequence = append(partition, booking_entry(outcome, booking, '', '', ARGV[8]))
save_booking(booking, sequence, {'payment_status', 'payment_step', 'payment_capture_id'})
if live then
  keep_answer(booking, ARGV[7])
  rest_payment(booking_id)
end
redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking_id)
return booking_reply(outcome, partition, booking)
