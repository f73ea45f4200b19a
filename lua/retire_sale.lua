#!lua flags=allow-oom
-- Takes a sale that closed `after_ms` ago and has no holds out of Redis. What is left is its id and
-- the sequence at that moment: it comes back from a PostgreSQL that is there, not from an older one.
-- keys:     meta
-- derives:  sale stock customers deadlines due retired
-- args:     generation seen sale_id after_ms
-- outcomes: fenced unknown_sale unchanged invalid_state done
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
local sale_id = ARGV[3]
local closes_ms = tonumber(redis.call('HGET', key_sale(sale_id), 'closes_ms'))
if not closes_ms then
  return {is_retired(sale_id) and 'unchanged' or 'unknown_sale', partition.sequence, ''}
end
if closes_ms == 0 or closes_ms + tonumber(ARGV[4]) > partition.now_ms
    or redis.call('ZCARD', key_deadlines(sale_id)) > 0 then
  return {'invalid_state', partition.sequence, ''}
end
redis.call('HSET', key_retired(), sale_id, string.format('%d', partition.sequence))
redis.call('UNLINK', key_sale(sale_id), key_stock(sale_id), key_customers(sale_id))
redis.call('ZREM', key_due(), sale_id)
return {'done', partition.sequence, ''}
