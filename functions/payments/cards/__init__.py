"""Card processors: the port that payments use, and the adapters to it."""
