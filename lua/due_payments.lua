#!lua flags=no-writes
-- Names bookings whose payment a worker shall look at, the longest waiting first.
-- keys:     meta
-- derives:  payments
-- args:     generation seen limit
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local due = redis.call('ZRANGEBYSCORE', key_payments(), '-inf',
  string.format('%d', partition.now_ms), 'LIMIT', 0, tonumber(ARGV[3]))
return {'done', partition.sequence, due}
