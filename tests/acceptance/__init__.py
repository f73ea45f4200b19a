"""The whole system from outside: one test, or a few, for each thing that it promises to show."""
