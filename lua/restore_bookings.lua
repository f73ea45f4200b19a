#!lua
-- Writes bookings that are not over into a partition that is being rebuilt: holds with their
-- deadline, those whose payment is open with the time at which a worker shall look, those with a
-- contact with its ciphertext; the others have empty text there. Each is a JSON object of texts.
-- keys:     meta
-- derives:  booking contact deadlines due finished payments
-- args:     generation token [booking]...
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/rebuilding
local refusal = refuse_rebuild()
if refusal then
  return refusal
end
for i = 3, #ARGV do
  local booking = cjson.decode(ARGV[i])
  local booking_id = booking.booking_id
  redis.call('HSET', key_booking(booking_id), unpack(booking.fields))
  if booking.deadline_ms ~= '' then
    redis.call('ZADD', key_deadlines(booking.sale_id), booking.deadline_ms, booking_id)
    redis.call('ZADD', key_due(), 'LT', booking.deadline_ms, booking.sale_id)
  else
    redis.call('ZADD', key_finished(), booking.updated_ms, booking_id)
  end
  if booking.look_ms ~= '' then
    redis.call('ZADD', key_payments(), booking.look_ms, booking_id)
  end
  if booking.contact ~= '' then
    redis.call('SET', key_contact(booking_id), booking.contact)
  end
end
return {'done', -1, ''}
