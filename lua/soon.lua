#!lua flags=no-writes
-- Names sales that may have holds that end within `ahead_ms`, the first to end first, at most
-- `limit` from an offset on.
-- keys:     meta
-- derives:  due
-- args:     generation seen ahead_ms offset limit
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local sales = redis.call('ZRANGEBYSCORE', key_due(), '-inf',
  string.format('%d', partition.now_ms + tonumber(ARGV[3])),
  'LIMIT', tonumber(ARGV[4]), tonumber(ARGV[5]))
return {'done', partition.sequence, sales}
