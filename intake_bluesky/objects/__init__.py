"""Object stores and filesystems behind one interface of seven verbs."""

from __future__ import annotations

from intake_bluesky.objects.connect import check_installed, objects_at
from intake_bluesky.objects.contract import ObjectInfo, ObjectReplaced, Objects, Span

__all__ = ["ObjectInfo", "ObjectReplaced", "Objects", "Span", "check_installed", "objects_at"]
