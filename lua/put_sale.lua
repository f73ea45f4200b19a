#!lua
-- Creates or updates a sale. The same operation id again: the first answer. Capacities are set,
-- not added; lowering one below held + sold is refused, as is removing an item in use.
-- keys:     meta
-- derives:  journal sales sale stock retired
-- args:     generation seen sale_id operation definition opens_ms closes_ms hold_ms
--           max_units_per_customer currency trace [item_id capacity unit_price max_per_booking]...
-- outcomes: fenced sale_retired sale_in_past capacity_in_use currency_in_use unchanged created updated
-- entries:  sale_put stock_adjusted
-- @include keys
-- @include lib/partition
-- @include lib/frozen
-- @include lib/lost
-- @include lib/append
-- @include lib/retired
-- @include lib/sale_retired_reply
local partition, fenced = open_partition()
fenced = fenced or refuse_frozen(partition, ARGV[3])
if fenced then
  return fenced
end
local sale_id, operation, definition, closes_ms = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[7])
local sale = redis.call('HMGET', key_sale(sale_id), 'operation', 'outcome', 'definition', 'closes_ms',
  'currency', 'version')
if sale[1] == operation then
  return {sale[2], partition.sequence, ''}
end
if not sale[6] and is_retired(sale_id) then
  return sale_retired_reply(partition, sale_id)
end
-- A sale that ended stays editable; a sale is not put into the past.
if closes_ms > 0 and closes_ms <= partition.now_ms and sale[4] ~= ARGV[7] then
  return {'sale_in_past', partition.sequence, ''}
end

local stock, flat = {}, redis.call('HGETALL', key_stock(sale_id))
for i = 1, #flat, 2 do
  stock[flat[i]] = tonumber(flat[i + 1])
end
if sale[6] and #flat == 0 or not sale[6] and (#flat > 0 or redis.call('ZSCORE', key_sales(), sale_id)) then
  -- Half of it is gone: what was held and sold would be for sale again.
  lose('keys_missing')
end
local write, deltas, levels, kept = {'HSET', key_stock(sale_id)}, {}, {}, {}
local function change(item_id, capacity)
  local held, sold = stock[item_id .. ':held'] or 0, stock[item_id .. ':sold'] or 0
  local available = capacity - held - sold
  local delta = available - (stock[item_id .. ':available'] or 0)
  if delta ~= 0 or not stock[item_id .. ':available'] then
    deltas[#deltas + 1] = string.format('%s:%d:0:0', item_id, delta)
    levels[#levels + 1] = string.format('%s:%d:%d:%d', item_id, available, held, sold)
  end
  return available, held, sold
end
local in_use = false
for i = 12, #ARGV, 4 do
  local item_id = ARGV[i]
  kept[item_id] = true
  local available, held, sold = change(item_id, tonumber(ARGV[i + 1]))
  if available < 0 then
    return {'capacity_in_use', partition.sequence, item_id}
  end
  in_use = in_use or held + sold > 0
  for field, value in pairs({available = available, held = held, sold = sold}) do
    write[#write + 1] = item_id .. ':' .. field
    write[#write + 1] = string.format('%d', value)
  end
  write[#write + 1] = item_id .. ':unit_price'
  write[#write + 1] = ARGV[i + 2]
  write[#write + 1] = item_id .. ':max_per_booking'
  write[#write + 1] = ARGV[i + 3]
end
local removed = {'HDEL', key_stock(sale_id)}
for i = 1, #flat, 2 do
  local item_id = string.match(flat[i], '^(.*):available$')
  if item_id and not kept[item_id] then
    local _, held, sold = change(item_id, 0)
    if held + sold > 0 then
      return {'capacity_in_use', partition.sequence, item_id}
    end
    for _, field in ipairs({'available', 'held', 'sold', 'unit_price', 'max_per_booking'}) do
      removed[#removed + 1] = item_id .. ':' .. field
    end
  end
end
if sale[5] and sale[5] ~= ARGV[10] and in_use then
  return {'currency_in_use', partition.sequence, ''}
end

local outcome = sale[6] and 'updated' or 'created'
local redefined = sale[3] ~= definition
if not redefined and #deltas == 0 then
  return {'unchanged', partition.sequence, ''}
end
local version, now = (tonumber(sale[6]) or 0) + 1, string.format('%d', partition.now_ms)
append(partition, string.format(
  '{"type":"%s","v":1,"at_ms":%s,"sale_id":"%s","version":%d,"definition":%s,"deltas":"%s",'
    .. '"levels":"%s","trace":"%s"}',
  redefined and 'sale_put' or 'stock_adjusted', now, sale_id, version, definition,
  table.concat(deltas, ','), table.concat(levels, ','), ARGV[11]))
redis.call('HSET', key_sale(sale_id), 'definition', definition, 'opens_ms', ARGV[6],
  'closes_ms', ARGV[7], 'hold_ms', ARGV[8], 'max_units_per_customer', ARGV[9],
  'currency', ARGV[10], 'version', string.format('%d', version), 'updated_ms', now,
  'operation', operation, 'outcome', outcome)
redis.call('HSETNX', key_sale(sale_id), 'created_ms', now)
redis.call(unpack(write))
if #removed > 2 then
  redis.call(unpack(removed))
end
redis.call('ZADD', key_sales(), 0, sale_id)
return {outcome, partition.sequence, ''}
