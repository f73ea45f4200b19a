"""The worker process: the loops that drain, sweep and evict, and the operator's commands."""
