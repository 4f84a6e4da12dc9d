"""Configurations that people have from databroker."""
