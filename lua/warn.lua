#!lua
-- Warns of holds of a sale that end within `warning_ms`, each once. A hold that was given no longer
-- than that is not warned of, and neither is one under payment. Looks at `limit` holds at most, in
-- the order of their deadlines, from a place on: a deadline, and how many of the holds that end at
-- it were seen. Answers how many it warned of, and the place to go on from.
-- keys:     meta
-- derives:  journal deadlines booking
-- args:     generation seen sale_id warning_ms from_ms offset limit
-- outcomes: fenced done
-- entries:  warned
-- @include keys
-- @include lib/partition
-- @include lib/lost
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/save
-- @include lib/frozen
local partition, fenced = open_partition()
fenced = fenced or refuse_frozen(partition, ARGV[3])
if fenced then
  return fenced
end
local sale_id, warning_ms, limit = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[7])
local from_ms, offset = tonumber(ARGV[5]), tonumber(ARGV[6])
-- What is due is for the sweeper.
if from_ms <= partition.now_ms then
  from_ms, offset = partition.now_ms + 1, 0
end
local until_ms = partition.now_ms + warning_ms
local found = redis.call('ZRANGEBYSCORE', key_deadlines(sale_id), string.format('%d', from_ms),
  string.format('%d', until_ms), 'WITHSCORES', 'LIMIT', offset, limit)
local bookings, last_ms, same = {}, from_ms, offset
for i = 1, #found, 2 do
  local booking, deadline_ms = read_booking(found[i]), tonumber(found[i + 1])
  if not booking then
    redis.call('HSETNX', KEYS[1], 'fenced', 'keys_missing')
    return {'fenced', -1, 'keys_missing'}
  end
  if deadline_ms > last_ms then
    last_ms, same = deadline_ms, 0
  end
  same = same + 1
  local paying = booking.payment_step and booking.payment_step ~= 'none'
  local given_ms = booking.hold_expires_ms - booking.created_ms
  if booking.warned ~= 1 and not paying and given_ms > warning_ms then
    bookings[#bookings + 1] = booking
  end
end
for _, booking in ipairs(bookings) do
  step_booking(partition, booking)
  booking.warned = 1
  local sequence = append(partition, booking_entry('warned', booking, '', '', ''))
  save_booking(booking, sequence, {'warned'})
end
if #found < 2 * limit then
  last_ms, same = until_ms + 1, 0
end
return {'done', partition.sequence, string.format('%d %d %d', #bookings, last_ms, same)}
