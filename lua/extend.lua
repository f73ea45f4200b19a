#!lua flags=allow-oom
-- Lengthens a live hold, once, to the sale's hold_ms from now. Said again, until it has expired: the
-- present state, whatever has become of the booking.
-- keys:     meta
-- derives:  journal sale deadlines due booking tombstone
-- args:     generation seen booking_id customer_id trace
-- outcomes: fenced absent evicted hold_expired invalid_state sale_closed unchanged extended
-- entries:  extended
-- @include keys
-- @include lib/partition
-- @include lib/lost
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/save
-- @include lib/repair_due
-- @include lib/find_booking
-- @include lib/reply
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id = ARGV[3]
local booking, refusal = find_booking(partition, booking_id, ARGV[4])
if not booking then
  return refusal
end
local pending = booking.status == 'PENDING'
if booking.cancel_reason == 'expired' or pending and booking.hold_expires_ms <= partition.now_ms then
  return booking_reply('hold_expired', partition, booking)
end
if booking.extended == 1 then
  return booking_reply('unchanged', partition, booking)
end
if not pending then
  return booking_reply('invalid_state', partition, booking)
end
-- Under payment the deadline is the end of the grace, which is given once.
if booking.payment_step and booking.payment_step ~= 'none' then
  return booking_reply('invalid_state', partition, booking)
end
local sale = redis.call('HMGET', key_sale(booking.sale_id), 'closes_ms', 'hold_ms')
if not sale[1] then
  lose('keys_missing')
end
local closes_ms = tonumber(sale[1])
if closes_ms > 0 and partition.now_ms >= closes_ms then
  return booking_reply('sale_closed', partition, booking)
end

local expires_ms = partition.now_ms + tonumber(sale[2])
-- A sale whose hold_ms was lowered since must not shorten what the buyer was promised.
if expires_ms < booking.hold_expires_ms then
  expires_ms = booking.hold_expires_ms
end
step_booking(partition, booking)
booking.hold_expires_ms = expires_ms
booking.deadline_ms = expires_ms
booking.extended = 1
local sequence = append(partition, booking_entry('extended', booking, '', '', ARGV[5]))
save_booking(booking, sequence, {'hold_expires_ms', 'deadline_ms', 'extended'})
redis.call('ZADD', key_deadlines(booking.sale_id), string.format('%d', expires_ms), booking_id)
repair_due(booking.sale_id)
return booking_reply('extended', partition, booking)
