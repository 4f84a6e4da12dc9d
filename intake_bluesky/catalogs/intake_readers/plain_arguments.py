"""Arguments of a reader in the one form that Intake 2 saves, fills in and opens again unchanged."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from intake_bluesky.errors import UnsupportedOperation

__all__ = ["plain_arguments"]

FILLED_IN: Final = re.compile(r"[{}]|^data\(")
"""What Intake 2 takes for a parameter, or for a reference to another entry, wherever it stands in an argument."""


def plain_arguments(value: Any, where: str = "") -> Any:
    """The argument with keys in order and without tuples: as Intake's YAML gives it back, so that its token stays.

    Raises
    ------
    UnsupportedOperation
        For what YAML has no form for, and text that Intake would change.

    Examples
    --------
    >>> plain_arguments({"uid": "d12f", "include": ("det",)})
    {'include': ['det'], 'uid': 'd12f'}
    """
    if isinstance(value, Mapping):
        names = sorted(value, key=str)
        return {plain_arguments(str(name), where): plain_arguments(value[name], f"{where} {name}") for name in names}
    if isinstance(value, (list, tuple)):
        return [plain_arguments(one, where) for one in value]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and FILLED_IN.search(value):
        raise UnsupportedOperation(
            f"{value!r}, given as{where}, is no argument of a reader: Intake 2 fills in what stands in braces, and has "
            "found nothing for it. Where the braces are meant, write a YAML file with the catalog, and open it by that"
        )
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise UnsupportedOperation(
        f"{type(value).__name__}, given as{where}, is no argument of a reader: it is made of text, numbers, lists and "
        "mappings, which YAML holds"
    )
