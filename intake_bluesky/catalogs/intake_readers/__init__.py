"""Streams and runs as readers of Intake 2, which its catalogs hold, pipe and save."""
