#!lua flags=allow-oom
-- Sheds new holds of the partition for `ttl_ms` from now, and says why: what is short is about to
-- run out (disk, memory). Opens again by itself when nobody says it any more.
-- keys:     meta
-- derives:  none
-- args:     generation seen reason ttl_ms
-- outcomes: fenced done
-- entries:  none
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
redis.call('HSET', KEYS[1], 'shed_reason', ARGV[3],
  'shed_until_ms', string.format('%d', partition.now_ms + tonumber(ARGV[4])))
return {'done', partition.sequence, ''}
