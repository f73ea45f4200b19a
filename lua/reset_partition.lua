#!lua flags=allow-oom
-- Gives a partition that is being rebuilt its new generation, and the place where PostgreSQL's
-- cursor is. It stays closed. From here on whoever knows an older generation is refused for ever.
-- keys:     meta
-- derives:  none
-- args:     generation token next_generation sequence bytes last_ms partitions hash_function
-- outcomes: fenced done
-- entries:  none
-- @include lib/rebuilding
-- @include lib/server
-- Said again, it is at the next generation already.
local again = redis.call('HGET', KEYS[1], 'generation') == ARGV[3]
if again then
  ARGV[1] = ARGV[3]
end
local refusal = refuse_rebuild()
if refusal then
  return refusal
end
redis.call('HSET', KEYS[1], 'generation', ARGV[3], 'sequence', ARGV[4], 'drained', ARGV[4],
  'bytes', ARGV[5], 'drained_bytes', ARGV[5], 'oldest_ms', '0', 'last_ms', ARGV[6],
  'partitions', ARGV[7], 'hash_function', ARGV[8], 'server', server_id())
redis.call('HDEL', KEYS[1], 'frozen')
return {'done', tonumber(ARGV[4]), ''}
