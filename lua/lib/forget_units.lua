-- Takes units off what a customer holds and has bought in a sale; the last ones remove the field,
-- so that the hash is bounded by the customers who have something.
local function forget_units(sale_id, customer_id, units)
  local left = redis.call('HINCRBY', key_customers(sale_id), customer_id, string.format('%d', -units))
  if left <= 0 then
    redis.call('HDEL', key_customers(sale_id), customer_id)
  end
end
