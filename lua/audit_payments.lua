#!lua flags=no-writes
-- Reads at one sequence how many payments are open, and when a worker shall look at those of some
-- bookings, in the order asked; empty for never.
-- keys:     meta
-- derives:  payments
-- args:     generation seen [booking_id]...
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local times = {}
for i = 3, #ARGV do
  times[i - 2] = redis.call('ZSCORE', key_payments(), ARGV[i]) or ''
end
return {'done', partition.sequence, redis.call('ZCARD', key_payments()), times}
