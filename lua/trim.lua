#!lua flags=allow-oom
-- Tells Redis how far PostgreSQL is, and removes entries below `keep_from`. The cursor's own
-- entry always stays: the next drain compares it with what PostgreSQL has.
-- keys:     meta
-- derives:  journal
-- args:     generation seen cursor keep_from
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local cursor, keep_from = tonumber(ARGV[3]), tonumber(ARGV[4])
if keep_from > cursor then
  keep_from = cursor
end
if cursor > partition.drained then
  redis.call('HSET', KEYS[1], 'drained', string.format('%d', cursor))
end
local removed = redis.call('XTRIM', key_journal(), 'MINID', '~', string.format('%d-0', keep_from))
return {'done', partition.sequence, string.format('%d', removed)}
