"""Outputs that paths, patterns and folders name: found by listing, without opening any."""

from __future__ import annotations

import glob
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from intake_bluesky.assets.location import Location
from intake_bluesky.errors import IntakeBlueskyError, StoreUnavailable
from intake_bluesky.objects import ObjectInfo, check_installed, objects_at
from intake_bluesky.runtime.patterns import fixed_part
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.storage.contract import Problem
from intake_bluesky_simulation.output_file import ROOTS, OutputFile, is_hierarchy, root_of
from intake_bluesky_simulation.path_patterns import PathPattern

if TYPE_CHECKING:
    from collections.abc import Hashable
    from contextlib import AbstractContextManager

    import xarray as xr

__all__ = ["FoundOutput", "Listed", "Output", "list_outputs"]

ENDINGS: Final = (".nc", ".nc4", ".h5", ".hdf5", ".zarr", ".zarr.zip")
"""What a folder is searched for."""


class Output(Protocol):
    """One file, hierarchy or source that holds the output of a simulation, or of a sweep of them."""

    @property
    def path(self) -> str:
        """What tells it from all others."""

    def version(self) -> str:
        """What is there now."""

    def datasets(self, version: str) -> AbstractContextManager[Mapping[str, xr.Dataset]]:
        """The Datasets of a version by stream, of which values are read while this lasts."""

    def attributes(self, version: str) -> dict[str, Any]:
        """The attributes of the whole."""

    def at(
        self,
        version: str,
        stream: str,
        dataset: xr.Dataset,
        *,
        point: Mapping[Hashable, int],
        events: str | None = None,
    ) -> xr.Dataset:
        """A Dataset of a stream at a point, lazily, that raises once the version is another."""


@dataclass(frozen=True, slots=True)
class FoundOutput:
    """An output as a listing shows it.

    Attributes
    ----------
    output : Output
    version : str
    modified : float
        When it was written, seconds since the epoch; NaN where nobody tells.
    parameters : mapping
        Those in its path.
    """

    output: Output
    version: str
    modified: float
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Listed:
    """What was found, by path, and what was not."""

    outputs: dict[str, FoundOutput] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)

    def add(self, found: FoundOutput) -> None:
        """Take an output in; one that several patterns name is of the first that reads its path."""
        self.outputs.setdefault(found.output.path, found)
        self.problems.pop(found.output.path, None)

    def lack(self, where: str, message: str, *, to_come: bool = False) -> None:
        """Note what is wrong with a path, unless another pattern reads it."""
        if where not in self.outputs:
            self.problems[where] = Problem(shown(where), message, to_come=to_come)


def list_outputs(paths: Sequence[str], storage_options: Mapping[str, Any]) -> Listed:
    """List what paths name.

    Raises
    ------
    StoreUnavailable
        When a place cannot be listed.
    """
    listed = Listed()
    for path in paths:
        scheme, mark, rest = path.partition("://")
        try:
            if not mark or scheme in ("file", "local"):
                _add_local(listed, rest if mark else path)
            else:
                _add_remote(listed, path, storage_options)
        except IntakeBlueskyError:
            raise
        except FileNotFoundError:
            listed.lack(path, f"nothing is at {shown(path)} yet", to_come=True)
        except OSError as error:
            raise StoreUnavailable(f"{shown(path)} cannot be listed: {shown(str(error))}") from error
    return listed


def _split(text: str, exists: Any, separator: str) -> tuple[str, str]:
    """The folders at the beginning that are no pattern, and the pattern after them."""
    whole = PathPattern.of(text).glob
    fixed = fixed_part(whole, exists, separator)
    # Fields have no separators: both have as many parts.
    return fixed, separator.join(text.split(separator)[len(fixed.split(separator)) :])


# On this machine


def _add_local(listed: Listed, text: str) -> None:
    text = os.path.expanduser(text)
    if os.path.lexists(text):  # by that very name it is no pattern
        text = _without_fields(text)
    if not os.path.isabs(text):
        text = os.path.normpath(os.path.join(_without_fields(os.getcwd()), text))
    folder, rest = _split(text, os.path.lexists, os.sep)
    folder = _plain(folder or os.sep)
    text = os.path.join(folder, rest) if rest else folder
    is_folder = not rest and os.path.isdir(folder) and not is_hierarchy(folder) and not _root_in(folder)
    if is_folder:
        found: Iterable[str] = (name for name in os.listdir(folder) if name.endswith(ENDINGS) and name[0] != ".")
        rest = "*"
    elif rest:
        found = glob.iglob(PathPattern.of(rest).glob, root_dir=folder, recursive=True)
    else:
        found = [""]
    pattern = PathPattern.of(rest)
    names = sorted(found)
    if not names and not is_folder:
        listed.lack(text, f"nothing is at {text} yet", to_come=True)
    places = [os.path.join(folder, name) if name else folder for name in names]
    for name, path in zip(names, places, strict=True):
        _add_file(listed, path, pattern.values(name))
    if names and not any(path in listed.outputs or path in listed.problems for path in places):
        listed.lack(text, f"nothing but folders is at {text}: name what is in them, and write braces of names as {{{{")


def _without_fields(path: str) -> str:
    return path.replace("{", "{{").replace("}", "}}")


def _plain(folder: str) -> str:
    """Without ``//``, as after ``{{ CATALOG_DIR }}``, and ``..``: a file has one path, by which its run has one uid."""
    plain = os.path.normpath(folder)
    try:
        return plain if os.path.samefile(folder, plain) else folder  # where `..` follows a link it is another
    except OSError:
        return plain


def _root_in(folder: str) -> str | None:
    return next((root for root in ROOTS if os.path.exists(os.path.join(folder, root))), None)


def _add_file(listed: Listed, path: str, values: dict[str, Any] | None) -> None:
    location = root = Location(path)
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            name = _root_in(path)
            if name is None:
                if path.endswith(".zarr"):
                    listed.lack(path, f"{path} is no Zarr hierarchy: it has none of {', '.join(ROOTS)}", to_come=True)
                return
            root = location.with_path(os.path.join(path, name))
            found = os.stat(root.path)
    except FileNotFoundError:
        listed.lack(path, f"nothing is at {path} yet", to_come=True)
        return
    except OSError as error:
        listed.lack(path, f"{path} cannot be looked at: {error}")
        return
    if values is None:
        listed.lack(path, _unread(path))
        return
    version = f"{found.st_ino}:{found.st_mtime_ns}:{found.st_size}"  # that of `Location.status`
    listed.add(FoundOutput(OutputFile(location, root), version, found.st_mtime_ns / 1e9, values))


def _unread(path: str) -> str:
    return (
        f"the values in the path {shown(path)} cannot be read: it is left out. A field is {{name:d}} for an integer, "
        "{name:f} for a number, {name} for text"
    )


# At URLs


def _add_remote(listed: Listed, text: str, options: Mapping[str, Any]) -> None:
    folder, rest = _split(text, lambda _: False, "/")
    check_installed(folder, options)
    objects, name = objects_at(folder, options)
    pattern = PathPattern.of(rest)
    found = dict[str, tuple[ObjectInfo, str]]()
    for info, root in _infos(objects, name, pattern.glob if rest else ""):
        found.setdefault(info.name.removesuffix(f"/{root}") if root else info.name, (info, root))
    if not found:
        listed.lack(text, f"nothing is at {shown(text)} yet", to_come=True)
    for path, (info, root) in found.items():
        location = Location(objects.url(path).rstrip("/"), options)
        values = pattern.values(path[len(name) :].lstrip("/")) if rest else {}
        if values is None:
            listed.lack(location.path, _unread(location.path))
            continue
        at = location.with_path(f"{location.path}/{root}") if root else root_of(location)
        if not info.tag:  # as in listings of web servers, which tell more of one file
            info = objects.head(info.name)
        modified = info.modified if math.isfinite(info.modified) else math.nan
        listed.add(FoundOutput(OutputFile(location, at), info.tag or str(info.size), modified, values))


def _infos(objects: Any, name: str, pattern: str) -> Iterator[tuple[ObjectInfo, str]]:
    """Files, and the metadata at the roots of hierarchies, with the name of that."""
    if not pattern:
        if not is_hierarchy(name):
            with suppress(FileNotFoundError):
                yield objects.head(name), ""
                return
        if name.endswith(".zip"):
            yield objects.head(name), ""
            return
        for root in ROOTS:
            with suppress(FileNotFoundError):
                yield objects.head(f"{name}/{root}"), root
                return
        pattern = "*"
        wanted: Any = lambda info: info.name.endswith(ENDINGS)  # noqa: E731  # as of a folder
    else:
        wanted = lambda _: True  # noqa: E731
    if not pattern.endswith(".zarr"):
        yield from ((info, "") for info in objects.list(name, pattern) if wanted(info))
    if pattern in ("*", "**/*") or pattern.endswith(".zarr"):
        for root in ROOTS:
            with suppress(FileNotFoundError):
                yield from ((info, root) for info in objects.list(name, f"{pattern}/{root}"))
