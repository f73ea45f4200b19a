#!lua
-- Brings an evicted booking back from PostgreSQL, so that it can be changed; never below the
-- version of its tombstone. Stock is not touched: its units never left the levels.
-- keys:     meta
-- derives:  booking contact tombstone finished
-- args:     generation seen booking_id version contact sequence [field value]...
-- outcomes: fenced stale unchanged done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id = ARGV[3]
if redis.call('EXISTS', key_booking(booking_id)) == 1 then
  return {'unchanged', partition.sequence, ''}
end
local tombstone = redis.call('GET', key_tombstone(booking_id))
if tombstone and tonumber(tombstone) > tonumber(ARGV[4]) then
  return {'stale', partition.sequence, tombstone}
end
for i = 7, #ARGV, 2 do
  if ARGV[i] == 'sale_id' and ARGV[i + 1] == partition.frozen then
    return {'fenced', -1, 'sale_frozen'}
  end
end
local write = {'HSET', key_booking(booking_id), 'version', ARGV[4], 'sequence', ARGV[6]}
for i = 7, #ARGV do
  write[#write + 1] = ARGV[i]
end
redis.call(unpack(write))
if ARGV[5] ~= '' then
  redis.call('SET', key_contact(booking_id), ARGV[5])
end
redis.call('ZADD', key_finished(), string.format('%d', partition.now_ms), booking_id)
return {'done', partition.sequence, ''}
