-- Refuses a call on a sale that is frozen, because it alone is being rebuilt. Returns the reply, or nil.
local function refuse_frozen(partition, sale_id)
  if partition.frozen == sale_id then
    return {'fenced', -1, 'sale_frozen'}
  end
  return nil
end
