"""Runs written into MongoDB, as databroker and suitcase-mongo write them."""
