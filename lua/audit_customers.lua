#!lua flags=no-writes
-- Reads the units of customers in a sale, in the order asked, at one sequence; empty for none.
-- keys:     meta
-- derives:  customers retired
-- args:     generation seen sale_id [customer_id]...
-- outcomes: fenced sale_retired done
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/retired
-- @include lib/sale_retired_reply
local partition, fenced = open_partition()
if fenced then
  return fenced
end
if is_retired(ARGV[3]) then
  return sale_retired_reply(partition, ARGV[3])
end
local units = {}
for i = 4, #ARGV do
  units[i - 3] = redis.call('HGET', key_customers(ARGV[3]), ARGV[i]) or ''
end
return {'done', partition.sequence, units}
