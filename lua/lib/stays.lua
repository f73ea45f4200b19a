-- Comes first where Redis is a cluster (`engine.scripts`): ends the script by an error while the slot is
-- being moved key by key. The server then refuses whatever key is not here, so that a script would die
-- half-way, at the first key that has left; it refuses this one, which never is anywhere, before anything
-- was written.
redis.call('EXISTS', string.sub(KEYS[1], 1, -5) .. 'absent')
