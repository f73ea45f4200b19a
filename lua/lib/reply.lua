-- The reply that carries a booking.
local function booking_reply(outcome, partition, booking)
  return {outcome, partition.sequence, booking_json(booking)}
end
