#!lua flags=no-writes
-- Names bookings whose payment a worker shall look at, the longest waiting first; none of a sale that
-- is frozen.
-- keys:     meta
-- derives:  payments booking
-- args:     generation seen limit
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local limit, now_ms = tonumber(ARGV[3]), string.format('%d', partition.now_ms)
if not partition.frozen then
  local due = redis.call('ZRANGEBYSCORE', key_payments(), '-inf', now_ms, 'LIMIT', 0, limit)
  return {'done', partition.sequence, due}
end
-- What is being rebuilt alone waits, and must keep nobody else waiting.
local found, position = {}, 0
repeat
  local due = redis.call('ZRANGEBYSCORE', key_payments(), '-inf', now_ms, 'LIMIT', position, limit)
  for _, booking_id in ipairs(due) do
    local sale_id = redis.call('HGET', key_booking(booking_id), 'sale_id')
    if sale_id and sale_id ~= partition.frozen and #found < limit then
      found[#found + 1] = booking_id
    end
  end
  position = position + limit
until #found == limit or #due < limit or position >= 64 * limit
return {'done', partition.sequence, found}
