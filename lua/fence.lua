#!lua flags=allow-oom
-- Closes a partition for everybody until it is rebuilt, and says why. The first reason stays.
-- keys:     meta
-- derives:  none
-- args:     generation seen reason
-- outcomes: fenced
-- entries:  none
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSETNX', KEYS[1], 'fenced', ARGV[3])
end
return {'fenced', -1, redis.call('HGET', KEYS[1], 'fenced') or 'meta_missing'}
