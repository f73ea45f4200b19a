-- Appends one journal entry. The first write of its change: what could fail, fails here.
-- Returns the entry's sequence.
local function append(partition, entry)
  local sequence, bytes = partition.sequence + 1, partition.bytes + #entry
  local id = string.format('%d-0', sequence)
  if sequence == 1 then
    redis.call('XADD', key_journal(), id, 'entry', entry)
  elseif not redis.call('XADD', key_journal(), 'NOMKSTREAM', id, 'entry', entry) then
    -- Entries that PostgreSQL may lack are gone with it; a new one would hide that.
    lose('journal_missing')
  end
  redis.call('HSET', KEYS[1], 'sequence', string.format('%d', sequence),
    'last_ms', string.format('%d', partition.now_ms), 'bytes', string.format('%d', bytes))
  if partition.drained == partition.sequence then
    -- PostgreSQL lacks nothing before it: this one is now the oldest that waits.
    redis.call('HSET', KEYS[1], 'oldest_ms', string.format('%d', partition.now_ms))
  end
  partition.sequence, partition.bytes = sequence, bytes
  return sequence
end
