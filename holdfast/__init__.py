"""The front door: the command, the embedded system, the demonstration. Nothing imports it."""
