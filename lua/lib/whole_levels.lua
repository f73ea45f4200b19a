-- The levels of all items of a sale, `item:available:held:sold,…` in the order of their ids.
local function whole_levels(sale_id)
  local stock, items, parts = {}, {}, {}
  local flat = redis.call('HGETALL', key_stock(sale_id))
  for i = 1, #flat, 2 do
    stock[flat[i]] = flat[i + 1]
    local item_id = string.match(flat[i], '^(.*):available$')
    if item_id then
      items[#items + 1] = item_id
    end
  end
  table.sort(items)
  for i, item_id in ipairs(items) do
    parts[i] = table.concat({item_id, stock[item_id .. ':available'], stock[item_id .. ':held'],
      stock[item_id .. ':sold']}, ':')
  end
  return table.concat(parts, ',')
end
