"""Tests of the rooms together, on real servers."""
