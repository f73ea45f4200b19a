#!lua flags=no-writes
-- Reads a booking, and whether its hold is due: then somebody has to run `expire` for its sale.
-- keys:     meta
-- derives:  booking tombstone
-- args:     generation seen booking_id customer_id
-- outcomes: fenced absent evicted found
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/find_booking
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking, refusal = find_booking(partition, ARGV[3], ARGV[4])
if not booking then
  return refusal
end
local due = booking.status == 'PENDING' and booking.deadline_ms <= partition.now_ms
return {'found', partition.sequence, booking_json(booking), due and 1 or 0}
