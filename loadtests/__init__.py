"""Load on a whole system, and the conventional service that it is compared with."""
