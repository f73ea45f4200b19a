#!lua flags=no-writes
-- Names open payments, `count` or so from a position on (0 is the start), and where to go on (0 is
-- the end); one that is open all the while is named at least once. Of each: booking_id, status,
-- payment_status, step, begun_ms, updated_ms; then the time now.
-- keys:     meta
-- derives:  payments booking
-- args:     generation seen position count
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local scan = redis.call('ZSCAN', key_payments(), ARGV[3], 'COUNT', ARGV[4])
local found = {}
for i = 1, #scan[2], 2 do
  local booking = redis.call('HMGET', key_booking(scan[2][i]), 'status', 'payment_status',
    'payment_step', 'payment_begun_ms', 'updated_ms')
  if booking[3] and booking[3] ~= '' and booking[3] ~= 'none' then
    found[#found + 1] = {scan[2][i], booking[1], booking[2], booking[3], booking[4], booking[5]}
  end
end
return {'done', partition.sequence, scan[1], found, string.format('%d', partition.now_ms)}
