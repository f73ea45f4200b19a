-- Whether somebody holds or has bought units of a sale.
local function is_taken(sale_id)
  local stock = redis.call('HGETALL', key_stock(sale_id))
  for i = 1, #stock, 2 do
    local side = string.match(stock[i], ':(%a+)$')
    if (side == 'held' or side == 'sold') and tonumber(stock[i + 1]) > 0 then
      return true
    end
  end
  return false
end
