#!lua
-- Writes a sale with its stock, as PostgreSQL has it, into a partition that is being rebuilt.
-- keys:     meta
-- derives:  sales sale stock retired
-- args:     generation token sale_id definition opens_ms closes_ms hold_ms max_units_per_customer
--           currency version created_ms updated_ms [field value]...
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/rebuilding
local refusal = refuse_rebuild()
if refusal then
  return refusal
end
local sale_id = ARGV[3]
redis.call('HSET', key_sale(sale_id), 'definition', ARGV[4], 'opens_ms', ARGV[5],
  'closes_ms', ARGV[6], 'hold_ms', ARGV[7], 'max_units_per_customer', ARGV[8],
  'currency', ARGV[9], 'version', ARGV[10], 'created_ms', ARGV[11], 'updated_ms', ARGV[12])
local write = {'HSET', key_stock(sale_id)}
for i = 13, #ARGV do
  write[#write + 1] = ARGV[i]
end
if #write > 2 then
  redis.call(unpack(write))
end
redis.call('ZADD', key_sales(), 0, sale_id)
redis.call('HDEL', key_retired(), sale_id)
return {'done', -1, ''}
