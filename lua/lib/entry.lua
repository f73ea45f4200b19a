-- A journal entry about a booking: the whole booking after the change, the deltas of its items
-- (`item:available:held:sold`, signed) and the levels after them. `more` is further members, each
-- with a comma before it.
local function entry_of(kind, at_ms, members, deltas, levels, trace, more)
  return string.format('{"type":"%s","v":1,"at_ms":%d,%s,"deltas":"%s","levels":"%s","trace":"%s"%s}',
    kind, at_ms, members, deltas, levels, trace, more or '')
end

local function booking_entry(kind, booking, deltas, levels, trace, more)
  return entry_of(kind, booking.updated_ms, booking_members(booking), deltas, levels, trace, more)
end
