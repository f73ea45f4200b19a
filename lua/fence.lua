#!lua flags=allow-oom
-- Closes a partition for everybody until it is rebuilt, and says why. The first reason stays.
-- keys:     meta
-- derives:  none
-- args:     generation seen reason
-- outcomes: fenced
-- entries:  none
local meta = redis.call('HMGET', KEYS[1], 'generation', 'fenced')
if not meta[1] then
  return {'fenced', -1, 'meta_missing'}
end
-- Who has not yet heard of a rebuild knows nothing about what was rebuilt.
if tonumber(meta[1]) > tonumber(ARGV[1]) then
  return {'fenced', -1, 'generation'}
end
redis.call('HSETNX', KEYS[1], 'fenced', ARGV[3])
return {'fenced', -1, meta[2] or ARGV[3]}
