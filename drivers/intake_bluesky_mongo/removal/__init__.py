"""Removing runs from MongoDB, so that no half run is ever seen."""
