#!lua
-- Writes the levels of a whole sale into the journal, so that both books are compared at that very
-- point. Not again while they are what they were at its last snapshot.
-- keys:     meta
-- derives:  journal sale stock
-- args:     generation seen sale_id
-- outcomes: fenced unknown_sale unchanged done
-- entries:  snapshot
-- @include keys
-- @include lib/partition
-- @include lib/frozen
-- @include lib/lost
-- @include lib/append
-- @include lib/whole_levels
local partition, fenced = open_partition()
fenced = fenced or refuse_frozen(partition, ARGV[3])
if fenced then
  return fenced
end
local sale_id = ARGV[3]
local sale = redis.call('HMGET', key_sale(sale_id), 'version', 'snapshot')
if not sale[1] then
  return {'unknown_sale', partition.sequence, ''}
end
local levels = whole_levels(sale_id)
if sale[2] == levels then
  return {'unchanged', partition.sequence, ''}
end
append(partition, string.format(
  '{"type":"snapshot","v":1,"at_ms":%d,"sale_id":"%s","deltas":"","levels":"%s","trace":""}',
  partition.now_ms, sale_id, levels))
redis.call('HSET', key_sale(sale_id), 'snapshot', levels)
return {'done', partition.sequence, ''}
