-- Chooses among due holds those whose units cover a shortage: `short` is units missing by item,
-- `excess` the units by which `customer_id` is over its cap. Writes nothing.
-- Returns the chosen bookings; or nil, whether more due holds exist than may be looked at, and
-- whether the customer's cap is (still) in the way.
local function choose_due(due, short, customer_id, excess, max_scanned, max_taken)
  local chosen, missing = {}, excess > 0 and 1 or 0
  for _ in pairs(short) do
    missing = missing + 1
  end
  for i = 1, math.min(#due, max_scanned) do
    if missing == 0 or #chosen == max_taken then
      break
    end
    local booking = due[i]
    local _, units, total = demand_of(booking.lines)
    local useful = excess > 0 and booking.customer_id == customer_id
    for item_id in pairs(units) do
      useful = useful or (short[item_id] or 0) > 0
    end
    if useful then
      chosen[#chosen + 1] = booking
      for item_id, quantity in pairs(units) do
        if (short[item_id] or 0) > 0 then
          short[item_id] = short[item_id] - quantity
          if short[item_id] <= 0 then
            missing = missing - 1
          end
        end
      end
      if excess > 0 and booking.customer_id == customer_id then
        excess = excess - total
        if excess <= 0 then
          missing = missing - 1
        end
      end
    end
  end
  if missing == 0 then
    return chosen
  end
  return nil, #due > max_scanned or (#chosen == max_taken and #due > max_taken), excess > 0
end
