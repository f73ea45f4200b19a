-- Whether a booking whose hold has expired may take its units again, at the price that it has: by
-- what a reserve of now is held to (window, units in a booking, the customer's cap), and where all
-- units are available. Else a slow payment would be a way around the limits.
local function may_take_again(partition, booking, order, units, total)
  local sale = redis.call('HMGET', key_sale(booking.sale_id), 'opens_ms', 'closes_ms',
    'max_units_per_customer')
  local opens_ms, closes_ms, cap = tonumber(sale[1]), tonumber(sale[2]), tonumber(sale[3])
  if not opens_ms or partition.now_ms < opens_ms or (closes_ms > 0 and partition.now_ms >= closes_ms) then
    return false
  end
  local has = redis.call('HGET', key_customers(booking.sale_id), booking.customer_id)
  if cap > 0 and tonumber(has or 0) + total > cap then
    return false
  end
  for _, item_id in ipairs(order) do
    local item = redis.call('HMGET', key_stock(booking.sale_id), item_id .. ':available',
      item_id .. ':max_per_booking')
    local available, most = tonumber(item[1]), tonumber(item[2])
    if not available or units[item_id] > available or (most > 0 and units[item_id] > most) then
      return false
    end
  end
  return true
end
