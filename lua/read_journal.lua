#!lua flags=no-writes
-- Reads entries from `from` (inclusive), at most `limit`, and none that begins beyond `max_bytes`:
-- id, fields of each; then whether it was the bytes that ended it (1), or not (0).
-- keys:     meta
-- derives:  journal
-- args:     generation seen from limit max_bytes
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
-- In pieces, so that what is too much is not read either.
local piece = 500
local from, left, bytes, entries = ARGV[3] .. '-0', tonumber(ARGV[4]), tonumber(ARGV[5]), {}
while left > 0 do
  local found = redis.call('XRANGE', key_journal(), from, '+', 'COUNT', math.min(left, piece))
  for _, entry in ipairs(found) do
    if bytes <= 0 then
      return {'done', partition.sequence, entries, 1}
    end
    entries[#entries + 1] = entry
    bytes = bytes - #entry[2][2]
    from = '(' .. entry[1]
  end
  left = #found < piece and 0 or left - piece
end
return {'done', partition.sequence, entries, 0}
