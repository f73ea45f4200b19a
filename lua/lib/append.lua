-- Appends one journal entry. The first write of its change: what could fail, fails here.
-- Returns the entry's sequence.
local function append(partition, entry)
  local sequence = partition.sequence + 1
  redis.call('XADD', key_journal(), string.format('%d-0', sequence), 'entry', entry)
  redis.call('HSET', KEYS[1], 'sequence', string.format('%d', sequence),
    'last_ms', string.format('%d', partition.now_ms))
  partition.sequence = sequence
  return sequence
end
