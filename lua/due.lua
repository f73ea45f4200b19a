#!lua flags=no-writes
-- Names sales that may have due holds, the longest overdue first, at most `limit`.
-- keys:     meta
-- derives:  due
-- args:     generation seen limit
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local sales = redis.call('ZRANGEBYSCORE', key_due(), '-inf',
  string.format('%d', partition.now_ms), 'LIMIT', 0, tonumber(ARGV[3]))
local found = {}
for _, sale_id in ipairs(sales) do
  -- What is being rebuilt alone waits, and must keep nobody else waiting.
  if sale_id ~= partition.frozen then
    found[#found + 1] = sale_id
  end
end
return {'done', partition.sequence, found}
