#!lua flags=allow-oom
-- Tells Redis how far PostgreSQL is, and removes entries below `keep_from`. The cursor's own
-- entry always stays: the next drain compares it with what PostgreSQL has. `drained_bytes` is the
-- length of all entries up to the cursor; empty where the caller does not know it.
-- keys:     meta
-- derives:  journal
-- args:     generation seen cursor keep_from drained_bytes
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/server
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local cursor, keep_from = tonumber(ARGV[3]), tonumber(ARGV[4])
if keep_from > cursor then
  keep_from = cursor
end
if cursor >= partition.drained then
  local bytes, oldest_ms = partition.bytes, partition.oldest_ms
  local drained_bytes = tonumber(ARGV[5])
  if cursor == partition.sequence then
    -- Nothing waits. Where the two counts differ, PostgreSQL's is the one that rows prove.
    bytes, oldest_ms = drained_bytes or bytes, 0
    drained_bytes = bytes
  else
    local first = redis.call('XRANGE', key_journal(), string.format('%d-0', cursor + 1), '+', 'COUNT', 1)
    local at_ms = first[1] and string.match(first[1][2][2], '"at_ms":(%d+)')
    oldest_ms = tonumber(at_ms or oldest_ms)
  end
  redis.call('HSET', KEYS[1], 'drained', string.format('%d', cursor),
    'bytes', string.format('%d', bytes), 'oldest_ms', string.format('%d', oldest_ms),
    'drained_bytes', string.format('%d', drained_bytes or partition.drained_bytes))
end
-- Whoever tells the cursor has compared this server with PostgreSQL.
redis.call('HSET', KEYS[1], 'server', server_id())
local removed = redis.call('XTRIM', key_journal(), 'MINID', '~', string.format('%d-0', keep_from))
return {'done', partition.sequence, string.format('%d', removed)}
