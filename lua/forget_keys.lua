#!lua flags=allow-oom
-- Removes keys of a partition that is being rebuilt, named without the partition's prefix. Never
-- meta. A script and not a plain UNLINK: a rebuild that wakes up late must not remove what another
-- one has written.
-- keys:     meta
-- derives:  none
-- args:     generation token [name]...
-- outcomes: fenced done
-- entries:  none
-- @include lib/rebuilding
local refusal = refuse_rebuild()
if refusal then
  return refusal
end
local prefix, removed = string.sub(KEYS[1], 1, -5), 0
for i = 3, #ARGV do
  if ARGV[i] ~= 'meta' then
    removed = removed + redis.call('UNLINK', prefix .. ARGV[i])
  end
end
return {'done', -1, string.format('%d', removed)}
