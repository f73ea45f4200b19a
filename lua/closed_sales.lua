#!lua flags=no-writes
-- Looks at the partition's sales after `after` (empty: from the start) in order, at most `limit`:
-- those that closed `after_ms` ago, and where to go on (empty: at the end).
-- keys:     meta
-- derives:  sales sale
-- args:     generation seen after limit after_ms
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/partition
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local from = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local names = redis.call('ZRANGE', key_sales(), from, '+', 'BYLEX', 'LIMIT', 0, tonumber(ARGV[4]))
local closed = {}
for _, sale_id in ipairs(names) do
  -- One that has left already has none.
  local closes_ms = tonumber(redis.call('HGET', key_sale(sale_id), 'closes_ms') or 0)
  if closes_ms > 0 and closes_ms + tonumber(ARGV[5]) <= partition.now_ms then
    closed[#closed + 1] = sale_id
  end
end
return {'done', partition.sequence, closed, #names == tonumber(ARGV[4]) and names[#names] or ''}
