#!lua
-- Writes tombstones of bookings that changed lately and are over into a partition that is being
-- rebuilt, since a slow `load` must not bring back what they were before. Each lives `ttl_ms`.
-- keys:     meta
-- derives:  tombstone
-- args:     generation token ttl_ms [booking_id version]...
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/rebuilding
local refusal = refuse_rebuild()
if refusal then
  return refusal
end
for i = 4, #ARGV, 2 do
  redis.call('SET', key_tombstone(ARGV[i]), ARGV[i + 1], 'PX', ARGV[3])
end
return {'done', -1, ''}
