#!lua flags=allow-oom
-- Closes one sale for a rebuild of it alone, and for every rebuild of it before; the others of the
-- partition go on. Refuses while another sale of the partition is frozen.
-- keys:     meta
-- derives:  none
-- args:     generation seen sale_id token
-- outcomes: fenced done
-- entries:  none
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
if partition.frozen and partition.frozen ~= ARGV[3] then
  return {'fenced', -1, 'sale_frozen'}
end
redis.call('HSET', KEYS[1], 'frozen', ARGV[3], 'rebuild', ARGV[4])
return {'done', partition.sequence, ''}
