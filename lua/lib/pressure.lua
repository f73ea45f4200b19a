-- Why no new hold is taken now, as the outcome that says so; nil where holds are taken. `shed` where
-- a worker asked for it and its word still holds, `backlog_full` where PostgreSQL lacks as much of
-- the journal as it may: by entries, by bytes, or by the age of the oldest. Writes nothing.
local function pressure_of(partition, max_entries, max_bytes, max_age_ms)
  if partition.shed_until_ms > partition.now_ms then
    return 'shed'
  end
  local entries = partition.sequence - partition.drained
  local bytes = partition.bytes - partition.drained_bytes
  local waits = entries > 0 and partition.oldest_ms > 0
  if entries >= max_entries or bytes >= max_bytes
      or waits and partition.now_ms - partition.oldest_ms >= max_age_ms then
    return 'backlog_full'
  end
  return nil
end
