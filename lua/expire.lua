#!lua flags=allow-oom
-- Ends due holds of a sale, oldest first, at most `limit`, and repairs the sale's place in `due`.
-- Answers how many it ended; as many as `limit` means that more may be due.
-- keys:     meta
-- derives:  journal stock customers deadlines due finished booking
-- args:     generation seen sale_id limit
-- outcomes: fenced done
-- entries:  expired
-- @include keys
-- @include lib/partition
-- @include lib/frozen
-- @include lib/lost
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/save
-- @include lib/demand
-- @include lib/move
-- @include lib/forget_units
-- @include lib/end_booking
-- @include lib/due
-- @include lib/repair_due
local partition, fenced = open_partition()
fenced = fenced or refuse_frozen(partition, ARGV[3])
if fenced then
  return fenced
end
local due, lost = due_bookings(partition, ARGV[3], tonumber(ARGV[4]))
if not due then
  return lost
end
for _, booking in ipairs(due) do
  end_booking(partition, booking, 'expired', 'expired', '')
end
repair_due(ARGV[3])
return {'done', partition.sequence, string.format('%d', #due)}
