-- Writes the named fields of a booking after its entry, and always version, updated_ms and the
-- entry's sequence. nil becomes empty text.
local function save_booking(booking, sequence, fields)
  booking.sequence = sequence
  local write = {'HSET', key_booking(booking.booking_id),
    'version', string.format('%d', booking.version),
    'updated_ms', string.format('%d', booking.updated_ms),
    'sequence', string.format('%d', sequence)}
  for _, field in ipairs(fields) do
    local value = booking[field]
    write[#write + 1] = field
    write[#write + 1] = type(value) == 'number' and string.format('%d', value) or value or ''
  end
  redis.call(unpack(write))
end

-- Moves a booking on: one version further, as of now.
local function step_booking(partition, booking)
  booking.version = booking.version + 1
  booking.updated_ms = partition.now_ms
end
