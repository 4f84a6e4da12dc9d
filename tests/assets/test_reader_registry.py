"""The table of readers by name is that of their classes."""

from __future__ import annotations

import inspect
from importlib import import_module
from itertools import chain
from pkgutil import resolve_name, walk_packages

import pytest

from intake_bluesky import assets
from intake_bluesky.assets.reader import AssetReader
from intake_bluesky.assets.reader_registry import BUILT_IN, native_reader


def readers() -> dict[str, type[AssetReader]]:
    """By their places, the classes of this package that have names."""
    modules = [import_module(found.name) for found in walk_packages(assets.__path__, f"{assets.__name__}.")]
    classes = chain.from_iterable(inspect.getmembers(module, inspect.isclass) for module in modules)
    named = {each for _, each in classes if issubclass(each, AssetReader) and (each.mimetypes or each.specs)}
    return {f"{each.__module__.removeprefix('intake_bluesky.assets.')}:{each.__name__}": each for each in named}


def test_the_table_has_the_mimetypes_and_specs_of_each_class() -> None:
    assert {place: (*each.mimetypes, *each.specs) for place, each in readers().items()} == BUILT_IN


def test_no_two_readers_have_one_name() -> None:
    names = list(chain.from_iterable(BUILT_IN.values()))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("place", sorted(BUILT_IN))
def test_each_name_leads_to_its_reader(place: str) -> None:
    expected = resolve_name(f"intake_bluesky.assets.{place}")
    assert [native_reader(name) for name in BUILT_IN[place]] == [expected] * len(BUILT_IN[place])
