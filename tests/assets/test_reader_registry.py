"""The table of readers by name has all of them."""

from __future__ import annotations

import inspect
from importlib import import_module
from itertools import chain
from pkgutil import resolve_name, walk_packages

import pytest

from intake_bluesky import assets
from intake_bluesky.assets.given_events import GivenEvents
from intake_bluesky.assets.handlers import HandlerReader
from intake_bluesky.assets.reader import AssetReader, UnreadableReader
from intake_bluesky.assets.reader_registry import BUILT_IN, native_reader


def readers() -> set[str]:
    """By their places, the classes of this package that read files of their own accord."""
    modules = [import_module(found.name) for found in walk_packages(assets.__path__, f"{assets.__name__}.")]
    classes = chain.from_iterable(inspect.getmembers(module, inspect.isclass) for module in modules)
    whole = {each for _, each in classes if issubclass(each, AssetReader) and not inspect.isabstract(each)}
    made = {
        each
        for each in whole
        if not (each.__name__.startswith("_") or issubclass(each, (GivenEvents, HandlerReader, UnreadableReader)))
    }
    return {f"{each.__module__.removeprefix('intake_bluesky.assets.')}:{each.__name__}" for each in made}


def test_the_table_has_every_reader() -> None:
    assert readers() == BUILT_IN.keys()


def test_no_two_readers_have_one_name() -> None:
    names = list(chain.from_iterable(BUILT_IN.values()))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("place", sorted(BUILT_IN))
def test_each_name_leads_to_its_reader(place: str) -> None:
    expected = resolve_name(f"intake_bluesky.assets.{place}")
    assert [native_reader(name) for name in BUILT_IN[place]] == [expected] * len(BUILT_IN[place])
