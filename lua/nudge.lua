#!lua flags=allow-oom
-- A webhook of the gateway says that something happened to a payment: notes the event's id and has
-- a worker ask the gateway at once, if it is the present attempt's. Mark and effect are one step; the
-- webhook itself moves nothing, since only the gateway's own answer is believed.
-- keys:     meta
-- derives:  booking tombstone event payments
-- args:     generation seen booking_id gateway event_id ttl_ms attempt amount currency
-- outcomes: fenced absent evicted unchanged moved_on done
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/booking
-- @include lib/find_booking
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
local attempt = tonumber(ARGV[7])
local asked = booking.payment_attempt and attempt <= booking.payment_attempt
  and booking.amount == tonumber(ARGV[8]) and booking.currency == ARGV[9]
if not asked then
  return {'moved_on', partition.sequence, ''}
end
if not redis.call('SET', key_event(ARGV[4], ARGV[5]), booking_id, 'NX', 'PX', ARGV[6]) then
  return {'unchanged', partition.sequence, ''}
end
-- An attempt before the present one has ended in a definite failure: whatever its webhook tells, late
-- or out of order, there is nothing to ask.
if attempt == booking.payment_attempt and booking.payment_step ~= 'none' then
  schedule_payment(partition, booking_id, 0)
end
return {'done', partition.sequence, ''}
