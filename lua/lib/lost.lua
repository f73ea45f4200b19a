-- Keys of the partition are gone: closes it for everybody, and ends the script by an error, before it
-- has written anything else. The first reason stays. `engine.calls` knows the errors by their words.
local function lose(reason)
  redis.call('HSETNX', KEYS[1], 'fenced', reason)
  error(reason)
end
