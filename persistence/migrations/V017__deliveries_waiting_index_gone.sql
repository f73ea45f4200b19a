-- What looked through it finds the same by other indexes, if not as fast.
DROP INDEX deliveries_waiting;
