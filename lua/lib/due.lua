-- Due holds of a sale, oldest deadline first, at most `limit`, read whole. A deadline without its
-- booking means that keys were lost: the partition is fenced before anything is decided on half
-- a picture. Returns the bookings, or nil and the reply.
local function due_bookings(partition, sale_id, limit)
  local ids = redis.call('ZRANGEBYSCORE', key_deadlines(sale_id), '-inf',
    string.format('%d', partition.now_ms), 'LIMIT', 0, limit)
  local bookings = {}
  for i, booking_id in ipairs(ids) do
    bookings[i] = read_booking(booking_id)
    if not bookings[i] then
      redis.call('HSETNX', KEYS[1], 'fenced', 'keys_missing')
      return nil, {'fenced', -1, 'keys_missing'}
    end
  end
  return bookings
end
