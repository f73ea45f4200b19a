"""`holdfast bench`: the system's own figures beside their limits and a conventional service."""
