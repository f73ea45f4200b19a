#!lua flags=allow-oom
-- Lengthens a live hold, once, to the sale's hold_ms from now. Said again: the present state.
-- keys:     meta
-- derives:  journal sale deadlines due booking tombstone
-- args:     generation seen booking_id customer_id trace
-- outcomes: fenced absent evicted hold_expired invalid_state sale_closed unchanged extended
-- entries:  extended
-- @include keys
-- @include lib/partition
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
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
if booking.status ~= 'PENDING' then
  local expired = booking.cancel_reason == 'expired'
  return booking_reply(expired and 'hold_expired' or 'invalid_state', partition, booking)
end
if booking.hold_expires_ms <= partition.now_ms then
  return booking_reply('hold_expired', partition, booking)
end
if booking.extended == 1 then
  return booking_reply('unchanged', partition, booking)
end
local sale = redis.call('HMGET', key_sale(booking.sale_id), 'closes_ms', 'hold_ms')
local closes_ms = tonumber(sale[1])
if closes_ms > 0 and partition.now_ms >= closes_ms then
  return booking_reply('sale_closed', partition, booking)
end

local expires_ms = partition.now_ms + tonumber(sale[2])
-- A sale whose hold_ms was lowered since must not shorten what the buyer was promised.
if expires_ms < booking.hold_expires_ms then
  expires_ms = booking.hold_expires_ms
end
booking.hold_expires_ms = expires_ms
booking.extended = 1
booking.version = booking.version + 1
booking.updated_ms = partition.now_ms
local sequence = append(partition, booking_entry('extended', booking, '', '', ARGV[5]))
redis.call('HSET', key_booking(booking_id),
  'hold_expires_ms', string.format('%d', expires_ms),
  'extended', '1',
  'version', string.format('%d', booking.version),
  'updated_ms', string.format('%d', booking.updated_ms),
  'sequence', string.format('%d', sequence))
redis.call('ZADD', key_deadlines(booking.sale_id), string.format('%d', expires_ms), booking_id)
repair_due(booking.sale_id)
return booking_reply('extended', partition, booking)
