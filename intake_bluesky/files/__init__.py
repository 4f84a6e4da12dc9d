"""Runs in files, one run a file: what the drivers of file formats share."""

from __future__ import annotations

from intake_bluesky.files.store import FileStore

__all__ = ["FileStore"]
