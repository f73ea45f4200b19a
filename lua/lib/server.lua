-- The server's run id, by which it is told from the same data on another server, or after a restart.
-- Empty where the server does not tell.
local function server_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
end
