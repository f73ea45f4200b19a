#!lua flags=allow-oom
-- Takes the lease of an open payment, for a worker or for a request that joined it.
-- keys:     meta
-- derives:  booking tombstone payments lease
-- args:     generation seen booking_id owner lease_ms
-- outcomes: fenced absent evicted unchanged lease_lost done
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/find_booking
-- @include lib/reply
-- @include lib/lease
-- @include lib/schedule
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id = ARGV[3]
local booking, refusal = find_booking(partition, booking_id, '')
if not booking then
  if refusal[1] ~= 'fenced' then
    redis.call('ZREM', key_payments(), booking_id)
  end
  return refusal
end
if not booking.payment_step or booking.payment_step == 'none' then
  rest_payment(booking_id)
  return booking_reply('unchanged', partition, booking)
end
if not take_lease(booking_id, ARGV[4], ARGV[5]) then
  local left_ms = redis.call('PTTL', key_lease(booking_id))
  schedule_payment(partition, booking_id, left_ms > 0 and left_ms or 0)
  return booking_reply('lease_lost', partition, booking)
end
schedule_payment(partition, booking_id, tonumber(ARGV[5]))
return booking_reply('done', partition, booking)
