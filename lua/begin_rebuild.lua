#!lua flags=allow-oom
-- Closes a partition for a rebuild, whatever its state, and for every rebuild before it. Refuses
-- where the generation is not the one that the rebuild found: another one was here meanwhile.
-- Together with init_partition and reset_partition the only scripts that write a missing meta; what
-- this one writes opens nothing.
-- keys:     meta
-- derives:  none
-- args:     generation token
-- outcomes: fenced done
-- entries:  none
local meta = redis.call('HMGET', KEYS[1], 'generation', 'sequence')
if (meta[1] or '0') ~= ARGV[1] then
  return {'fenced', -1, 'overtaken'}
end
redis.call('HSET', KEYS[1], 'fenced', 'rebuilding', 'rebuild', ARGV[2])
return {'done', tonumber(meta[2] or 0), ''}
