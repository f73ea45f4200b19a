"""What `make check` runs: `python -m tests.checks` is the list, the other modules are our own."""
