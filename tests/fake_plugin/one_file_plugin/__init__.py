"""A driver for runs in one file, as an author outside of this project might write it."""

from __future__ import annotations
