"""The first difference between what was stored and what came back, by its path: for messages of failing tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from intake_bluesky.documents.model import Document, identical, to_plain

__all__ = ["assert_arrays", "assert_documents", "assert_identical", "first_difference"]

LONGEST: Final = 80  # characters of a value in a message


def first_difference(observed: Any, expected: Any, *, same: Callable[[Any, Any], bool] = identical) -> str | None:
    """Describe the first place at which two documents, values or lists of them are not `identical`.

    Parameters
    ----------
    observed, expected : object
        What came back, and what was stored.
    same : callable
        Compares two values of which one at least is no dict and no list.

    Returns
    -------
    str or None

    Examples
    --------
    >>> first_difference({"data": {"det": [3, 1]}}, {"data": {"det": [3, 1.0]}})
    'data.det[1]: 1.0 (float) is stored, 1 (int) came back'
    >>> first_difference({"uid": "a"}, {"uid": "a", "reason": None})
    'reason: null is stored, and the key is absent in what came back'
    """
    return _walk("", to_plain(observed), to_plain(expected), same)


def assert_identical(observed: Any, expected: Any, where: str) -> None:
    """Fail with the first difference; `where` says of what the path begins."""
    assert identical(observed, expected), f"{where} {first_difference(observed, expected)}"


def assert_arrays(observed: Any, expected: Any, where: str) -> None:
    """Fail with the first difference of two arrays, such as ``frames[3][0]: 2 (int) is stored, 1 (int) came back``.

    Values are equal or not, whatever their dtypes; NaN equals NaN.
    """
    try:
        np.testing.assert_array_equal(observed, expected)
    except AssertionError as error:
        difference = first_difference({where: observed}, {where: expected}, same=_equal)
        raise AssertionError(difference or str(error)) from None


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) or identical(one, other)


def assert_documents(observed: Sequence[tuple[str, Document]], expected: Sequence[tuple[str, Document]]) -> None:
    """Fail with the first difference of two runs, such as ``event_page 3 data.det[4]: ...``.

    The number counts the documents of that name, from 0.
    """
    seen = Counter[str]()
    for place, ((name, doc), (stored, inserted)) in enumerate(zip(observed, expected, strict=False)):
        assert name == stored, f"document {place}: {_article(stored)} is stored, {_article(name)} came back"
        assert_identical(doc, inserted, f"{name} {seen[name]}")
        seen[name] += 1
    names = [name for name, _ in observed], [name for name, _ in expected]
    assert len(observed) == len(expected), f"{len(expected)} documents are stored, {len(observed)} came back: {names}"


def _walk(path: str, observed: Any, expected: Any, same: Callable[[Any, Any], bool]) -> str | None:
    if isinstance(observed, dict) and isinstance(expected, dict):
        return _walk_keys(path, observed, expected, same)
    if isinstance(observed, list) and isinstance(expected, list):
        for place, (mine, theirs) in enumerate(zip(observed, expected, strict=False)):
            difference = _walk(f"{path}[{place}]", mine, theirs, same)
            if difference is not None:
                return difference
        if len(observed) == len(expected):
            return None
        return _at(path, f"{len(expected)} values are stored, {len(observed)} came back")
    if same(observed, expected):
        return None
    return _at(path, f"{_shown(expected)} is stored, {_shown(observed)} came back")


def _walk_keys(path: str, observed: Document, expected: Document, same: Callable[[Any, Any], bool]) -> str | None:
    for key, value in expected.items():
        place = f"{path}.{key}" if path else str(key)
        if key not in observed:
            return _at(place, f"{_shown(value)} is stored, and the key is absent in what came back")
        difference = _walk(place, observed[key], value, same)
        if difference is not None:
            return difference
    for key, value in observed.items():
        if key not in expected:
            place = f"{path}.{key}" if path else str(key)
            return _at(place, f"the key is absent in what is stored, and {_shown(value)} came back")
    if list(observed) == list(expected):
        return None
    return _at(path, f"the keys are stored in the order {list(expected)}, and came back in the order {list(observed)}")


def _at(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = repr(value)
    return f"{text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'} ({type(value).__name__})"


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
