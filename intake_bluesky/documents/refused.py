"""Which value of a document a format has no form for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

__all__ = ["place_refused"]

DEEPEST: Final = 20  # levels; what holds itself has no end


def place_refused(name: str, doc: Any, write: Callable[[Any], object]) -> str:
    """Say where in a document the value is that cannot be written.

    Parameters
    ----------
    name : str
        Of the document.
    doc : dict
    write : callable
        Raises for what it cannot write, and for what has that inside.

    Examples
    --------
    >>> from intake_bluesky.documents.exact_json import dumps
    >>> place_refused("start", {"uid": "abc", "sample": {"layers": [1, 1j]}}, dumps)
    "start['sample']['layers'][1]"
    """
    place, value = name, doc
    for _ in range(DEEPEST):
        found = next(((key, part) for key, part in _parts(value) if _refuses(write, part)), None)
        if found is None:  # it is the value itself, or one of its keys
            break
        place, value = f"{place}[{found[0]!r:.80}]", found[1]
    return place


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)


def _refuses(write: Callable[[Any], object], value: Any) -> bool:
    try:
        write(value)
    except Exception:  # noqa: BLE001  # what the writer of a format raises is its own affair
        return True
    return False
