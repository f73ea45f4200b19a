"""The heart of Holdfast: scripts, keys, outcomes, bookings, sales, journal. Imports no sibling."""
