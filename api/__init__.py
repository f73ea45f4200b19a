"""The HTTP face: parses, authenticates, asks the engine, and says what came of it."""
