-- Whether the partition, or the one sale that is frozen in it, is this rebuild's: at its generation,
-- closed for it, and by its token. One that was paused and wakes up after another one has begun, or
-- has ended, finds another token, or nothing closed.
-- ARGV[1] is the generation of the rebuild (0: there is no meta), ARGV[2] its token.
-- Returns the reply that refuses the call; nil where the rebuild may write.
local function refuse_rebuild()
  local meta = redis.call('HMGET', KEYS[1], 'generation', 'fenced', 'rebuild', 'frozen')
  local closed = meta[2] == 'rebuilding' or not meta[2] and meta[4]
  if (meta[1] or '0') == ARGV[1] and closed and meta[3] == ARGV[2] then
    return nil
  end
  return {'fenced', -1, 'overtaken'}
end
