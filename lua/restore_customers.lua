#!lua
-- Writes how many units customers have of sales into a partition that is being rebuilt.
-- keys:     meta
-- derives:  customers
-- args:     generation token [sale_id customer_id units]...
-- outcomes: fenced done
-- entries:  none
-- @include keys
-- @include lib/rebuilding
local refusal = refuse_rebuild()
if refusal then
  return refusal
end
for i = 3, #ARGV, 3 do
  redis.call('HSET', key_customers(ARGV[i]), ARGV[i + 1], ARGV[i + 2])
end
return {'done', -1, ''}
