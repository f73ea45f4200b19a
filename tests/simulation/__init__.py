"""A world in one process, on a clock of its own: the product's decisions against every fault."""
