-- Appends one journal entry. The first write of its change: what could fail, fails here.
-- Returns the entry's sequence.
local function append(partition, entry)
  local sequence, bytes = partition.sequence + 1, partition.bytes + #entry
  redis.call('XADD', key_journal(), string.format('%d-0', sequence), 'entry', entry)
  redis.call('HSET', KEYS[1], 'sequence', string.format('%d', sequence),
    'last_ms', string.format('%d', partition.now_ms), 'bytes', string.format('%d', bytes))
  if partition.drained == partition.sequence then
    -- PostgreSQL lacks nothing before it: this one is now the oldest that waits.
    redis.call('HSET', KEYS[1], 'oldest_ms', string.format('%d', partition.now_ms))
  end
  partition.sequence, partition.bytes = sequence, bytes
  return sequence
end
