#!lua flags=allow-oom
-- Marks a confirmed booking as used up. Said again: the present state.
-- keys:     meta
-- derives:  journal finished booking tombstone
-- args:     generation seen booking_id trace
-- outcomes: fenced absent evicted invalid_state unchanged completed
-- entries:  completed
-- @include keys
-- @include lib/partition
-- @include lib/lost
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/save
-- @include lib/find_booking
-- @include lib/reply
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id = ARGV[3]
local booking, refusal = find_booking(partition, booking_id, '')
if not booking then
  return refusal
end
if booking.status == 'COMPLETED' then
  return booking_reply('unchanged', partition, booking)
end
-- Paid for, or free: a capture that is still open is not.
local paid = booking.amount == 0 or booking.payment_status == 'CAPTURED'
if booking.status ~= 'CONFIRMED' or not paid then
  return booking_reply('invalid_state', partition, booking)
end
step_booking(partition, booking)
booking.status = 'COMPLETED'
local sequence = append(partition, booking_entry('completed', booking, '', '', ARGV[4]))
save_booking(booking, sequence, {'status'})
redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking_id)
return booking_reply('completed', partition, booking)
