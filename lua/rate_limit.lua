#!lua
-- Spends one call of a customer's rate, for routes that have no script of their own to do it in.
-- keys:     meta
-- derives:  rate
-- args:     generation seen customer_id interval_us burst_us
-- outcomes: fenced rate_limited allowed
-- entries:  none
-- @include keys
-- @include lib/partition
-- @include lib/allow_rate
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local arrival_us, wait_us = plan_rate(partition, ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]))
if wait_us then
  return {'rate_limited', partition.sequence, string.format('%d', math.ceil(wait_us / 1000))}
end
spend_rate(partition, ARGV[3], arrival_us)
return {'allowed', partition.sequence, ''}
