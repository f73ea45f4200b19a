#!lua flags=allow-oom
-- The authorization is voided: the attempt ends with no money moved.
-- keys:     meta
-- derives:  journal finished booking tombstone idempotency payments lease
-- args:     generation seen booking_id owner attempt idempotency_ttl_ms trace
-- outcomes: fenced absent evicted lease_lost moved_on voided
-- entries:  voided
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
local booking, refusal = find_payment(partition, booking_id, ARGV[4], ARGV[5], {'void'})
if not booking then
  return refusal
end
step_booking(partition, booking)
booking.payment_status = 'VOIDED'
booking.payment_step = 'none'
local sequence = append(partition, booking_entry('voided', booking, '', '', ARGV[7]))
save_booking(booking, sequence, {'payment_status', 'payment_step'})
keep_answer(booking, ARGV[6])
rest_payment(booking_id)
redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking_id)
return booking_reply('voided', partition, booking)
