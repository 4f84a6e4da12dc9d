"""Queries as text, for people to type."""
