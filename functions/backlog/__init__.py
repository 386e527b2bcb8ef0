"""What waits in every area's database, for those who watch over it."""
