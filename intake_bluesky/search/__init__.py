"""Searches: planned, finished run by run, sorted, counted, explained."""
