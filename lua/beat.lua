#!lua flags=allow-oom
-- Writes something, so that the WAIT that follows on this connection has something to wait for.
-- A script and not a plain INCR, which a server at its memory limit would refuse: then the changes
-- that may still be made could not be acknowledged.
-- keys:     meta
-- derives:  beat
-- args:     none
-- outcomes: done
-- entries:  none
-- @include keys
return {'done', redis.call('INCR', key_beat()), ''}
