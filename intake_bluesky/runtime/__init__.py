"""Plugins, trust, secrets, progress, threads: nothing about runs."""
