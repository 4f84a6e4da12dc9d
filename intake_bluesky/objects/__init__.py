"""Object stores and filesystems behind one interface of seven verbs."""

from __future__ import annotations

from intake_bluesky.objects.connect import check_installed, objects_at
from intake_bluesky.objects.contract import ObjectChanged, ObjectInfo, Objects, Span

__all__ = ["ObjectChanged", "ObjectInfo", "Objects", "Span", "check_installed", "objects_at"]
