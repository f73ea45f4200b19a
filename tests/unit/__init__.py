"""Fast tests of single rooms."""
