"""Detectors' images, one or several files an event."""
