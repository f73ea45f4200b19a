#!lua
-- First start of a partition: creates its meta. A rebuild alone may do so too. Refuses where a
-- journal lies about without one, or where the recorded shape is another.
-- keys:     meta
-- derives:  journal
-- args:     generation seen partitions hash_function
-- outcomes: fenced unchanged created
-- entries:  none
-- @include keys
-- @include lib/server
local meta = redis.call('HMGET', KEYS[1], 'generation', 'partitions', 'hash_function', 'sequence')
if meta[1] then
  if meta[2] ~= ARGV[3] or meta[3] ~= ARGV[4] then
    return {'fenced', -1, 'shape'}
  end
  return {'unchanged', tonumber(meta[4]), meta[1]}
end
if redis.call('EXISTS', key_journal()) == 1 then
  return {'fenced', -1, 'meta_missing'}
end
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'sequence', '0', 'last_ms', '0', 'drained', '0',
  'bytes', '0', 'drained_bytes', '0', 'oldest_ms', '0', 'partitions', ARGV[3], 'hash_function', ARGV[4],
  'server', server_id())
return {'created', 0, ARGV[1]}
