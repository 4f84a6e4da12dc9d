"""A source of a YAML file by its name: ``lab.yml``, ``lab.yml:runs``, ``lab.yml:nested.runs``."""

from __future__ import annotations

import re
from typing import Any, Final

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.runtime.secrets import shown

__all__ = ["YAML_ENTRY", "named_entry"]

YAML_ENTRY: Final = re.compile(r"(?P<file>.+\.ya?ml)(?::(?P<entry>[^/\\]+))?")
"""A YAML file, and the name of one of its sources after a colon."""


def named_entry(catalog: Any, name: str | None, where: str) -> Any:
    """Follow a dotted name down; without one, give the only entry.

    Raises
    ------
    StoreUnavailable
        Where there is none of that name, or several and no name.
    """
    if name is None:
        names = list(catalog)
        if len(names) != 1:
            raise StoreUnavailable(
                f"{shown(where)} has {len(names)} entries: choose one, {shown(where)}:{{{','.join(names)}}}"
            )
        name = names[0]
    found = catalog
    for part in name.split("."):
        if part not in list(found):
            there = ", ".join(map(repr, found)) or "none"
            raise StoreUnavailable(f"{shown(where)} has no entry {name!r}; it has {there}")
        found = found[part]
    return found
