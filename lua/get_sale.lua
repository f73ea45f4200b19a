#!lua flags=no-writes
-- Reads a sale with its levels: definition (JSON), version, created_ms, updated_ms, now_ms, then
-- the stock hash as field, value, …; and the units of due holds, as `item:quantity:price,…` each.
-- keys:     meta
-- derives:  sales sale stock deadlines booking retired
-- args:     generation seen sale_id max_due_scanned
-- outcomes: fenced sale_retired unknown_sale found
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/retired
-- @include lib/sale_retired_reply
-- @include lib/frozen
local partition, fenced = open_partition()
fenced = fenced or refuse_frozen(partition, ARGV[3])
if fenced then
  return fenced
end
local sale_id = ARGV[3]
local sale = redis.call('HMGET', key_sale(sale_id), 'definition', 'version', 'created_ms', 'updated_ms')
if not sale[1] and is_retired(sale_id) then
  return sale_retired_reply(partition, sale_id)
end
local stock = redis.call('HGETALL', key_stock(sale_id))
if not sale[1] and #stock == 0 and not redis.call('ZSCORE', key_sales(), sale_id) then
  return {'unknown_sale', partition.sequence, ''}
elseif not sale[1] or #stock == 0 then
  -- Half of it is gone. Who sells closes the partition.
  return {'fenced', -1, 'keys_missing'}
end
local due_lines = {}
local due = redis.call('ZRANGEBYSCORE', key_deadlines(sale_id), '-inf',
  string.format('%d', partition.now_ms), 'LIMIT', 0, tonumber(ARGV[4]))
for i, booking_id in ipairs(due) do
  due_lines[i] = redis.call('HGET', key_booking(booking_id), 'lines') or ''
end
return {'found', partition.sequence, sale[1], sale[2], sale[3], sale[4],
  string.format('%d', partition.now_ms), stock, due_lines}
