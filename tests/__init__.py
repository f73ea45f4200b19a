"""The tests, and what `make check` runs beside other people's tools."""
