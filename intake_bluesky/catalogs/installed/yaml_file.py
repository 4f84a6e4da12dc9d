"""A YAML file of the search path: Intake's or databroker's, distinguished by its keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from intake_bluesky.catalogs.databroker.configuration import is_configuration, read_configuration
from intake_bluesky.catalogs.offered import Offered, YamlSource
from intake_bluesky.catalogs.yaml_files.text import load, what_is_wrong
from intake_bluesky.storage.contract import Problem

__all__ = ["Contents", "read_file"]

HIDDEN: Final = "_legacy_config"
"""databroker's name for what ``from databroker import db`` opened: never listed."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What one file offers.

    Attributes
    ----------
    offered : tuple of Offered
    problem : Problem or None
        Why it offers nothing.
    names : tuple of str
        What it would offer if it were whole: its name and those of its sources.
    """

    offered: tuple[Offered, ...] = ()
    problem: Problem | None = None
    names: tuple[str, ...] = ()


def read_file(path: str) -> Contents:
    """List what a file offers, opening and importing none of it; a broken file is a problem, not an error."""
    name = Path(path).stem
    try:
        data = load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        return _broken(path, f"it cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return _broken(path, "it is no text in UTF-8")
    except Exception as error:  # noqa: BLE001 - constructors raise what they like, and none may hide other files
        return _broken(path, f"it is no YAML: {what_is_wrong(error)}")
    if not isinstance(data, dict):
        return _broken(path, "it is empty" if data is None else f"it holds a {type(data).__name__}, no mapping")
    if is_configuration(data):
        if name == HIDDEN:
            return Contents()
        try:
            return Contents((read_configuration(name, path, data),))
        except ValueError as error:
            return _broken(path, str(error))
    return _of_intake(path, data)


def _broken(path: str, message: str, *names: str) -> Contents:
    return Contents((), Problem(path, message), (Path(path).stem, *names))


def _of_intake(path: str, data: dict[Any, Any]) -> Contents:
    if data.get("version") == 2:
        return _of_intake_2(path, data)
    sources = data.get("sources")
    if not isinstance(sources, dict):
        return _broken(path, "it has neither Intake's 'sources' nor databroker's 'metadatastore'")
    names = tuple(name for name in sources if isinstance(name, str))
    wrong = [f"{name!r}: {why}" for name, source in sources.items() if (why := _why_not(name, source))]
    if wrong:  # Intake refuses the whole file
        return _broken(path, f"of its sources, {'; '.join(wrong)}", *names)
    return Contents(tuple(_source(path, name, sources[name]) for name in names if not sources[name].get("remote")))


CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "is no mapping": lambda source: not isinstance(source, dict),
    "has no driver": lambda source: not source.get("driver") and "cls" not in source,
    "has args that are no mapping": lambda source: not isinstance(source.get("args", {}), dict),
    "has metadata that are no mapping": lambda source: not isinstance(source.get("metadata", {}), dict),
    "has a description that is no text": lambda source: not isinstance(source.get("description", ""), str),
}


def _why_not(name: Any, source: Any) -> str | None:
    if not isinstance(name, str):
        return "the name is no text"
    return next((why for why, wrong in CHECKS.items() if wrong(source)), None)


def _source(path: str, name: str, source: Mapping[str, Any]) -> YamlSource:
    driver = source.get("driver", source.get("cls"))
    if isinstance(driver, (list, dict)):  # several to choose from, of which Intake takes the first it knows
        driver = next((each for each in driver if isinstance(each, str)), None) if len(driver) == 1 else None
    return YamlSource(name, path, None if driver is None else str(driver), source.get("description") or None)


def _of_intake_2(path: str, data: Mapping[str, Any]) -> Contents:
    """Readers by their names, and by aliases where they have one."""
    entries, aliases = data.get("entries"), data.get("aliases") or {}
    if not isinstance(entries, dict) or not isinstance(aliases, dict):
        return _broken(path, "it says version 2 and has no 'entries'")
    names = {name: name for name in entries if name not in aliases.values()} | aliases
    return Contents(tuple(YamlSource(name, path, _reader(entries.get(token))) for name, token in names.items()))


def _reader(entry: Any) -> str | None:
    """As ``module:Class``, which needs no registration."""
    reader = entry.get("reader") if isinstance(entry, dict) else None
    return str(reader) if reader else None
