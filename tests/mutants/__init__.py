"""Bugs that were planted on purpose, each with the test that has to find it."""
