-- Plans the move of a demand between two of `available`, `held` and `sold`. Nothing is written:
-- the plan carries the deltas and levels for the journal, and the HSET that apply_move sends.
-- `values` are the three counts of each item in their order, where they have just been read.
local function plan_move(sale_id, order, units, from, to, values)
  if not values then
    local fields = {}
    for _, item_id in ipairs(order) do
      fields[#fields + 1] = item_id .. ':available'
      fields[#fields + 1] = item_id .. ':held'
      fields[#fields + 1] = item_id .. ':sold'
    end
    values = redis.call('HMGET', key_stock(sale_id), unpack(fields))
  end
  local write, deltas, levels = {'HSET', key_stock(sale_id)}, {}, {}
  for i, item_id in ipairs(order) do
    if not values[3 * i - 2] then
      lose('keys_missing')
    end
    local level = {
      available = tonumber(values[3 * i - 2]),
      held = tonumber(values[3 * i - 1]),
      sold = tonumber(values[3 * i]),
    }
    local delta = {available = 0, held = 0, sold = 0}
    delta[from] = -units[item_id]
    delta[to] = units[item_id]
    level[from] = level[from] - units[item_id]
    level[to] = level[to] + units[item_id]
    deltas[i] = string.format('%s:%d:%d:%d', item_id, delta.available, delta.held, delta.sold)
    levels[i] = string.format('%s:%d:%d:%d', item_id, level.available, level.held, level.sold)
    for _, side in ipairs({from, to}) do
      write[#write + 1] = item_id .. ':' .. side
      write[#write + 1] = string.format('%d', level[side])
    end
  end
  return {write = write, deltas = table.concat(deltas, ','), levels = table.concat(levels, ',')}
end

local function apply_move(plan)
  redis.call(unpack(plan.write))
end
