#!lua flags=no-writes
-- Reads the units of customers in a sale, in the order asked, at one sequence; empty for none.
-- keys:     meta
-- derives:  customers
-- args:     generation seen sale_id [customer_id]...
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local units = {}
for i = 4, #ARGV do
  units[i - 3] = redis.call('HGET', key_customers(ARGV[3]), ARGV[i]) or ''
end
return {'done', partition.sequence, units}
