#!lua flags=no-writes
-- Reads bookings of a sale, in the order asked, at one sequence: of each its deadline in the sale's
-- `deadlines` and in its hash, and its status and version; each empty where there is none.
-- keys:     meta
-- derives:  deadlines booking
-- args:     generation seen sale_id [booking_id]...
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local found = {}
for i = 4, #ARGV do
  local booking = redis.call('HMGET', key_booking(ARGV[i]), 'deadline_ms', 'status', 'version')
  found[i - 3] = {redis.call('ZSCORE', key_deadlines(ARGV[3]), ARGV[i]) or '',
    booking[1] or '', booking[2] or '', booking[3] or ''}
end
return {'done', partition.sequence, found}
