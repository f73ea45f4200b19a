#!lua flags=allow-oom
-- Records a definite failure of an authorization: nothing was taken. The hold's deadline is its
-- own again, so that the buyer can try once more; the answer is kept for the attempt's key.
-- keys:     meta
-- derives:  journal deadlines due booking tombstone idempotency payments lease
-- args:     generation seen booking_id owner attempt decline_code idempotency_ttl_ms trace
-- outcomes: fenced absent evicted lease_lost moved_on payment_failed
-- entries:  payment_failed
-- @include keys
-- @include lib/partition
-- @include lib/lost
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/save
-- @include lib/repair_due
-- @include lib/find_booking
-- @include lib/reply
-- @include lib/lease
-- @include lib/find_payment
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id = ARGV[3]
local booking, refusal = find_payment(partition, booking_id, ARGV[4], ARGV[5], {'authorize'})
if not booking then
  return refusal
end
step_booking(partition, booking)
booking.payment_status = 'DECLINED'
booking.payment_step = 'none'
booking.payment_decline_code = ARGV[6]
booking.payment_next_action = nil
booking.deadline_ms = booking.hold_expires_ms
local sequence = append(partition, booking_entry('payment_failed', booking, '', '', ARGV[8]))
save_booking(booking, sequence, {'payment_status', 'payment_step', 'payment_decline_code',
  'payment_next_action', 'deadline_ms'})
if booking.status == 'PENDING' then
  redis.call('ZADD', key_deadlines(booking.sale_id), string.format('%d', booking.deadline_ms), booking_id)
  repair_due(booking.sale_id)
end
redis.call('SET', key_idempotency('pay', booking_id, booking.payment_key, booking.customer_id),
  booking.payment_fingerprint .. ' ' .. booking_json(booking), 'PX', ARGV[7])
rest_payment(booking_id)
return booking_reply('payment_failed', partition, booking)
