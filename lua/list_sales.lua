#!lua flags=no-writes
-- Names this partition's sales after `after` (empty: from the start) in order, at most `limit`.
-- keys:     meta
-- derives:  sales
-- args:     generation seen after limit
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local from = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local sales = redis.call('ZRANGEBYLEX', key_sales(), from, '+', 'LIMIT', 0, tonumber(ARGV[4]))
return {'done', partition.sequence, sales}
