"""Arguments of a catalog with credentials in them, which are left out wherever the catalog is shown or saved."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from intake_bluesky.runtime.secrets import ServerURL

if TYPE_CHECKING:
    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog

__all__ = ["secret_arguments"]


def secret_arguments(catalog: BlueskyCatalog) -> list[str]:
    """Names of the arguments without which another process would not open the same."""
    kept = catalog._captured_init_kwargs
    given = {**kept, **catalog._secrets}
    return [name for name, value in given.items() if _lost(value, kept[name])]


def _lost(given: Any, kept: Any) -> bool:
    """Whether what is kept of an argument is less than what was given; drivers write their addresses in one form."""
    if hasattr(type(given), "selection"):  # a source of a federation
        return bool(secret_arguments(given))
    if isinstance(given, Mapping) and isinstance(kept, Mapping):
        by_name = {str(name): value for name, value in kept.items()}
        return any(str(name) not in by_name or _lost(value, by_name[str(name)]) for name, value in given.items())
    if isinstance(given, (list, tuple)) and isinstance(kept, (list, tuple)):
        return any(map(_lost, given, kept))
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if not isinstance(given, str):
        return given is not kept and bool(given != kept)
    return given != kept and "://" in given and _lost_of_url(given, str(kept))


def _lost_of_url(given: str, kept: str) -> bool:
    whole, rest = ServerURL.parse(given), ServerURL.parse(kept)
    if whole is None or rest is None:
        return True
    users = bool(whole.user) and not rest.user
    fewer = len(re.findall("[^&;]+", whole.options)) > len(re.findall("[^&;]+", rest.options))
    return users or whole.password is not None or fewer or "..." in rest.options
