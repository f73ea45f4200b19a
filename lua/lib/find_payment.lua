-- Finds the booking whose payment the caller owns, at the attempt and step it thinks it is at.
-- Returns the booking, or nil and the reply: `lease_lost` where another owns it, `moved_on` (with
-- the booking) where it is at another attempt or step: somebody came first.
local function find_payment(partition, booking_id, owner, attempt, steps)
  local booking, refusal = find_booking(partition, booking_id, '')
  if not booking then
    return nil, refusal
  end
  if not owns(booking_id, owner) then
    return nil, booking_reply('lease_lost', partition, booking)
  end
  local at_step = false
  for _, step in ipairs(steps) do
    at_step = at_step or booking.payment_step == step
  end
  if not at_step or booking.payment_attempt ~= tonumber(attempt) then
    return nil, booking_reply('moved_on', partition, booking)
  end
  return booking
end
