#!lua flags=allow-oom
-- Marks a confirmed booking as used up. Said again: the present state.
-- keys:     meta
-- derives:  journal finished booking tombstone
-- args:     generation seen booking_id trace
-- outcomes: fenced absent evicted invalid_state unchanged completed
-- entries:  completed
-- @include keys
-- @include lib/partition
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
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
if booking.status ~= 'CONFIRMED' then
  return booking_reply('invalid_state', partition, booking)
end
booking.version = booking.version + 1
booking.status = 'COMPLETED'
booking.updated_ms = partition.now_ms
local sequence = append(partition, booking_entry('completed', booking, '', '', ARGV[4]))
redis.call('HSET', key_booking(booking_id),
  'status', 'COMPLETED',
  'version', string.format('%d', booking.version),
  'updated_ms', string.format('%d', booking.updated_ms),
  'sequence', string.format('%d', sequence))
redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking_id)
return booking_reply('completed', partition, booking)
