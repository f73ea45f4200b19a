#!lua flags=no-writes
-- Reads entries from `from` (inclusive), at most `limit`: id, fields of each.
-- keys:     meta
-- derives:  journal
-- args:     generation seen from limit
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local entries = redis.call('XRANGE', key_journal(), ARGV[3] .. '-0', '+', 'COUNT', tonumber(ARGV[4]))
return {'done', partition.sequence, entries}
