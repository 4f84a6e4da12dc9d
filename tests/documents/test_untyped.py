"""How deep documents are, by containers of every kind that a store gives."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest

from intake_bluesky.documents.untyped import DEEPEST, data_keys_of, too_deep

CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "dict": lambda inner: {"key": inner},
    "list": lambda inner: [0, inner, "text"],
    "tuple": lambda inner: (inner,),
    "ordered": lambda inner: OrderedDict(key=inner),
    "read only": lambda inner: MappingProxyType({"key": inner}),
    "mapping": lambda inner: UserDict(key=inner),
    "list of its own kind": lambda inner: type("Mine", (list,), {})([inner]),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_levels_are_counted_in_any_container(kind: str) -> None:
    def nested(levels: int) -> dict[str, Any]:
        inner: Any = 1.5
        for _ in range(levels - 1):
            inner = CONTAINERS[kind](inner)
        return {"beside": "x" * 10, "nested": inner, "after": [1, 2, 3]}

    assert not too_deep(nested(DEEPEST))
    assert too_deep(nested(DEEPEST + 1))
    assert not too_deep({"text": "[" * 1000})


def test_data_keys_are_mappings() -> None:
    sound = {"x": {"dtype": "number"}, "y": MappingProxyType({"dtype": "array"})}
    assert data_keys_of({"data_keys": sound}) is sound
    assert data_keys_of(MappingProxyType({"data_keys": {**sound, "z": None, 1: {}}})) == sound
    assert not data_keys_of({"data_keys": None})
    assert not data_keys_of({})
