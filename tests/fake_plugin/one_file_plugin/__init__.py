"""A driver for runs kept in one file, as somebody else might write it."""

from __future__ import annotations
