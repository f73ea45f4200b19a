#!lua flags=allow-oom
-- Opens a partition that was rebuilt: its journal begins with the entry at PostgreSQL's cursor, which
-- the drain compares, and `rebuilt`, the first of the new generation. Said again: `unchanged`.
-- keys:     meta
-- derives:  journal
-- args:     generation token entry
-- outcomes: fenced unchanged done
-- entries:  rebuilt
-- @include keys
-- @include lib/lost
-- @include lib/append
-- @include lib/rebuilding
local meta = redis.call('HMGET', KEYS[1], 'sequence', 'last_ms', 'generation', 'fenced', 'rebuild',
  'bytes')
if meta[3] == ARGV[1] and not meta[4] and meta[5] == ARGV[2] then
  return {'unchanged', tonumber(meta[1]), ''}
end
local refusal = refuse_rebuild()
if refusal then
  return refusal
end
local time, last_ms = redis.call('TIME'), tonumber(meta[2])
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local sequence = tonumber(meta[1])
local partition = {
  sequence = sequence,
  drained = sequence,
  bytes = tonumber(meta[6]),
  now_ms = now_ms < last_ms and last_ms or now_ms,
}
if ARGV[3] ~= '' then
  redis.call('XADD', key_journal(), meta[1] .. '-0', 'entry', ARGV[3])
end
append(partition, string.format(
  '{"type":"%s","v":1,"at_ms":%d,"generation":%s,"sale_id":"","deltas":"","levels":"","trace":""}',
  'rebuilt', partition.now_ms, ARGV[1]))
redis.call('HDEL', KEYS[1], 'fenced')
return {'done', partition.sequence, ''}
