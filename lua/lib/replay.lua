-- Looks an idempotency record up. Returns the reply where there is one, else nil.
local function replay_reply(partition, record_key, fingerprint)
  local record = redis.call('GET', record_key)
  if not record then
    return nil
  end
  if string.sub(record, 1, #fingerprint) ~= fingerprint then
    return {'idempotency_key_reused', partition.sequence, ''}
  end
  return {'replayed', partition.sequence, string.sub(record, #fingerprint + 2)}
end
