#!lua
-- Brings back what customers have of a sale that has left Redis, some of them at a time, before
-- `load_sale` brings the sale. Not where it is back already: what they have may have changed since.
-- keys:     meta
-- derives:  sale customers retired
-- args:     generation seen sale_id [customer_id units]...
-- outcomes: fenced unchanged done
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/frozen
-- @include lib/retired
local partition, fenced = open_partition()
fenced = fenced or refuse_frozen(partition, ARGV[3])
if fenced then
  return fenced
end
if not is_retired(ARGV[3]) or redis.call('EXISTS', key_sale(ARGV[3])) == 1 then
  return {'unchanged', partition.sequence, ''}
end
for i = 4, #ARGV, 2 do
  redis.call('HSET', key_customers(ARGV[3]), ARGV[i], ARGV[i + 1])
end
return {'done', partition.sequence, ''}
