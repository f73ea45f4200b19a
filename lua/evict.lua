#!lua flags=allow-oom
-- Removes bookings that finished `retention_ms` ago and whose last entry PostgreSQL has, at most
-- `limit`, each leaving a tombstone with its version. Answers how many left.
-- keys:     meta
-- derives:  finished booking contact tombstone
-- args:     generation seen cursor retention_ms limit tombstone_ttl_ms
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local cursor, evicted = tonumber(ARGV[3]), 0
local before = string.format('%d', partition.now_ms - tonumber(ARGV[4]))
local finished = redis.call('ZRANGEBYSCORE', key_finished(), '-inf', before, 'LIMIT', 0, tonumber(ARGV[5]))
for _, booking_id in ipairs(finished) do
  local booking = redis.call('HMGET', key_booking(booking_id), 'version', 'sequence', 'payment_step')
  if not booking[1] then
    redis.call('ZREM', key_finished(), booking_id)
  elseif booking[3] and booking[3] ~= '' and booking[3] ~= 'none' then
    -- Its payment is open: the saga still needs it here. Looked at again a retention later.
    redis.call('ZADD', key_finished(), string.format('%d', partition.now_ms), booking_id)
  elseif tonumber(booking[2]) <= cursor then
    redis.call('SET', key_tombstone(booking_id), booking[1], 'PX', ARGV[6])
    redis.call('DEL', key_booking(booking_id), key_contact(booking_id))
    redis.call('ZREM', key_finished(), booking_id)
    evicted = evicted + 1
  end
end
return {'done', partition.sequence, string.format('%d', evicted)}
