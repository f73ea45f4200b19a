#!lua flags=no-writes
-- Reads a sale whole, at one sequence: its hash and its stock as field, value, …; how many customers
-- have units, how many holds live, the earliest deadline and the sale's place in `due` (or empty).
-- keys:     meta
-- derives:  sale stock customers deadlines due retired
-- args:     generation seen sale_id
-- outcomes: fenced sale_retired unknown_sale found
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/retired
-- @include lib/sale_retired_reply
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local sale_id = ARGV[3]
local sale = redis.call('HGETALL', key_sale(sale_id))
if #sale == 0 and is_retired(sale_id) then
  return sale_retired_reply(partition, sale_id)
end
if #sale == 0 then
  return {'unknown_sale', partition.sequence, ''}
end
local first = redis.call('ZRANGE', key_deadlines(sale_id), 0, 0, 'WITHSCORES')
return {'found', partition.sequence, sale, redis.call('HGETALL', key_stock(sale_id)),
  redis.call('HLEN', key_customers(sale_id)), redis.call('ZCARD', key_deadlines(sale_id)),
  first[2] or '', redis.call('ZSCORE', key_due(), sale_id) or ''}
