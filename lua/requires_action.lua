#!lua flags=allow-oom
-- Notes that the buyer has to act before the gateway can authorize; a worker looks again.
-- keys:     meta
-- derives:  journal booking tombstone payments lease
-- args:     generation seen booking_id owner attempt authorization_id next_action poll_ms trace
-- outcomes: fenced absent evicted lease_lost moved_on unchanged requires_action
-- entries:  requires_action
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
-- @include lib/schedule
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
local known = booking.payment_status == 'REQUIRES_ACTION'
if not known then
  step_booking(partition, booking)
  booking.payment_status = 'REQUIRES_ACTION'
  booking.payment_authorization_id = ARGV[6]
  booking.payment_next_action = ARGV[7]
  local sequence = append(partition, booking_entry('requires_action', booking, '', '', ARGV[9]))
  save_booking(booking, sequence, {'payment_status', 'payment_authorization_id', 'payment_next_action'})
end
redis.call('DEL', key_lease(booking_id))
schedule_payment(partition, booking_id, tonumber(ARGV[8]))
return booking_reply(known and 'unchanged' or 'requires_action', partition, booking)
