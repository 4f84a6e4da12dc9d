"""Runs moved between stores: copies that are verified, and go on where they were interrupted.

`ingest` is what users import, as ``intake_bluesky.ingest``.
"""

from __future__ import annotations

from intake_bluesky.transfer import ingest

__all__ = ["ingest"]
