#!lua flags=allow-oom
-- Opens a sale that was rebuilt alone, with `rebuilt`, which tells the levels of all its items. It
-- may be said again.
-- keys:     meta
-- derives:  journal stock
-- args:     generation token sale_id
-- outcomes: fenced unchanged done
-- entries:  rebuilt
-- @include keys
-- @include lib/lost
-- @include lib/append
-- @include lib/whole_levels
-- @include lib/rebuilding
local meta = redis.call('HMGET', KEYS[1], 'sequence', 'last_ms', 'generation', 'fenced', 'rebuild',
  'bytes', 'drained', 'frozen')
if meta[3] == ARGV[1] and not meta[4] and meta[5] == ARGV[2] and not meta[8] then
  return {'unchanged', tonumber(meta[1]), ''}
end
local refusal = refuse_rebuild()
if refusal then
  return refusal
end
local time, last_ms = redis.call('TIME'), tonumber(meta[2])
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local partition = {
  sequence = tonumber(meta[1]),
  drained = tonumber(meta[7]),
  bytes = tonumber(meta[6] or 0),
  now_ms = now_ms < last_ms and last_ms or now_ms,
}
append(partition, string.format(
  '{"type":"%s","v":1,"at_ms":%d,"generation":%s,"sale_id":"%s","deltas":"","levels":"%s","trace":""}',
  'rebuilt', partition.now_ms, ARGV[1], ARGV[3], whole_levels(ARGV[3])))
redis.call('HDEL', KEYS[1], 'frozen')
return {'done', partition.sequence, ''}
