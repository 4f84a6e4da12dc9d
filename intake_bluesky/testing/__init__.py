"""What the author of a driver imports to test it."""
