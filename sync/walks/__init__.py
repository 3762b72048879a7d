"""Long jobs over a store's listing: the walk, backfill and projection inside a command."""
