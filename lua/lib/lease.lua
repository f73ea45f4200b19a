-- The lease of a payment: who may speak to the gateway for this booking until when. Two owners at
-- once would be harmless to the money (both send the same request under the same key), not to the
-- books: only the owner may record.
local function take_lease(booking_id, owner, lease_ms)
  local holder = redis.call('GET', key_lease(booking_id))
  if holder and holder ~= owner then
    return false
  end
  redis.call('SET', key_lease(booking_id), owner, 'PX', lease_ms)
  return true
end

local function owns(booking_id, owner)
  return redis.call('GET', key_lease(booking_id)) == owner
end

local function rest_payment(booking_id)
  redis.call('ZREM', key_payments(), booking_id)
  redis.call('DEL', key_lease(booking_id))
end
