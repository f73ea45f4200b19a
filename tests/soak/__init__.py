"""The long fault runs: every fault again and again, in an order that a seed decides, under load."""
