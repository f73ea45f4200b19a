#!lua flags=allow-oom
-- Notes that the gateway's answer is not known, and when to make it definite. The step stays: the
-- same request under the same key is what will be sent.
-- keys:     meta
-- derives:  journal booking tombstone payments lease
-- args:     generation seen booking_id owner attempt step retry_ms trace
-- outcomes: fenced absent evicted lease_lost moved_on unchanged payment_unknown
-- entries:  payment_unknown
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
local booking, refusal = find_payment(partition, booking_id, ARGV[4], ARGV[5], {ARGV[6]})
if not booking then
  return refusal
end
local known = booking.payment_status == 'UNKNOWN'
if not known then
  step_booking(partition, booking)
  booking.payment_status = 'UNKNOWN'
  local sequence = append(partition, booking_entry('payment_unknown', booking, '', '', ARGV[8]))
  save_booking(booking, sequence, {'payment_status'})
end
redis.call('DEL', key_lease(booking_id))
schedule_payment(partition, booking_id, tonumber(ARGV[7]))
return booking_reply(known and 'unchanged' or 'payment_unknown', partition, booking)
