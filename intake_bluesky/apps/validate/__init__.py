"""What is damaged, missing or odd in a catalog or a run, and where."""

from __future__ import annotations

from intake_bluesky.apps.validate.checks import validate, validate_run
from intake_bluesky.apps.validate.findings import CODES, Finding, Level

__all__ = ["CODES", "Finding", "Level", "validate", "validate_run"]
