#!lua
-- Brings a sale back that has left Redis, as PostgreSQL has it at `cursor`: `stale` where that is
-- before it left, or where other customers were loaded than it has.
-- keys:     meta
-- derives:  sale stock customers retired
-- args:     generation seen sale_id cursor customers definition opens_ms closes_ms hold_ms
--           max_units_per_customer currency version created_ms updated_ms [field value]...
-- outcomes: fenced stale unchanged done
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/frozen
local partition, fenced = open_partition()
fenced = fenced or refuse_frozen(partition, ARGV[3])
if fenced then
  return fenced
end
local sale_id = ARGV[3]
local left_at = redis.call('HGET', key_retired(), sale_id)
if not left_at then
  return {'unchanged', partition.sequence, ''}
end
if redis.call('EXISTS', key_sale(sale_id)) == 1 then
  -- A rebuild has put it there, and it may have changed since.
  redis.call('HDEL', key_retired(), sale_id)
  return {'unchanged', partition.sequence, ''}
end
if tonumber(ARGV[4]) < tonumber(left_at) then
  return {'stale', partition.sequence, left_at}
end
if redis.call('HLEN', key_customers(sale_id)) ~= tonumber(ARGV[5]) then
  -- Of a load that was given up. The next one begins with none.
  redis.call('UNLINK', key_customers(sale_id))
  return {'stale', partition.sequence, left_at}
end
redis.call('HSET', key_sale(sale_id), 'definition', ARGV[6], 'opens_ms', ARGV[7],
  'closes_ms', ARGV[8], 'hold_ms', ARGV[9], 'max_units_per_customer', ARGV[10],
  'currency', ARGV[11], 'version', ARGV[12], 'created_ms', ARGV[13], 'updated_ms', ARGV[14])
local write = {'HSET', key_stock(sale_id)}
for i = 15, #ARGV do
  write[#write + 1] = ARGV[i]
end
redis.call(unpack(write))
redis.call('HDEL', key_retired(), sale_id)
return {'done', partition.sequence, ''}
