-- Whether a sale has left Redis. Nothing of it may be changed until `load_sale` brings it back.
local function is_retired(sale_id)
  return redis.call('HEXISTS', key_retired(), sale_id) == 1
end
