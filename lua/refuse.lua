#!lua
-- Refuses many holds of what is known to be sold out, in one run: nothing was appended since that
-- was found, so it still is. Each word is 0 for refused, -1 for a key that is known and wants its
-- first answer, else the ms that its customer has to wait.
-- keys:     meta
-- derives:  idempotency rate
-- args:     generation seen sequence sale_id interval_us burst_us [customer_id key]...
-- outcomes: fenced stale done
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/allow_rate
-- @include lib/frozen
local partition, fenced = open_partition()
fenced = fenced or refuse_frozen(partition, ARGV[4])
if fenced then
  return fenced
end
if partition.sequence ~= tonumber(ARGV[3]) then
  return {'stale', partition.sequence, ''}
end
local sale_id, interval_us, burst_us = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local words = {}
for i = 7, #ARGV, 2 do
  local customer_id, key = ARGV[i], ARGV[i + 1]
  local word = -1
  if redis.call('EXISTS', key_idempotency('hold', sale_id, key, customer_id)) == 0 then
    local arrival_us, wait_us = plan_rate(partition, customer_id, interval_us, burst_us)
    word = wait_us and math.ceil(wait_us / 1000) or 0
    if not wait_us then
      spend_rate(partition, customer_id, arrival_us)
    end
  end
  words[#words + 1] = word
end
return {'done', partition.sequence, words}
