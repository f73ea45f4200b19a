-- Sums the units of each item over lines `item:quantity:unit_price,…`, so that two lines on one
-- item count as one demand. Returns the item ids in order of first mention, the units by item,
-- and all units together.
local function demand_of(lines)
  local order, units, total = {}, {}, 0
  for item_id, quantity in string.gmatch(lines, '([^:,]+):(%d+):%d+') do
    quantity = tonumber(quantity)
    if not units[item_id] then
      order[#order + 1] = item_id
      units[item_id] = 0
    end
    units[item_id] = units[item_id] + quantity
    total = total + quantity
  end
  return order, units, total
end
