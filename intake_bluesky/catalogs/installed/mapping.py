"""The mapping of installed catalogs: looked up at each listing, opened one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from intake_bluesky.catalogs.display.entries import EntryRow, entries_html
from intake_bluesky.catalogs.installed.search_path import CatalogLocation, search_path, yaml_files
from intake_bluesky.catalogs.installed.yaml_file import Contents, read_file
from intake_bluesky.catalogs.offered import Offered, installed
from intake_bluesky.errors import CatalogNotFound, IntakeBlueskyError, StoreUnavailable
from intake_bluesky.storage.contract import Problem

__all__ = ["InstalledCatalogs"]

SHOWN: Final = 40  # catalogs in a repr


@dataclass(slots=True)
class _Listing:
    offered: dict[str, Offered] = field(default_factory=dict)
    hidden: list[Offered] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    broken: dict[str, Problem] = field(default_factory=dict)

    def add(self, one: Offered) -> None:
        if self.offered.setdefault(one.name, one) is not one:
            self.hidden.append(one)

    def add_contents(self, contents: Contents) -> None:
        for one in contents.offered:
            self.add(one)
        if contents.problem is not None:
            self.problems.append(contents.problem)
            for name in contents.names:
                self.broken.setdefault(name, contents.problem)


class InstalledCatalogs(Mapping[str, Any]):
    """The catalogs of installed packages and of the YAML files on the search path, by name.

    Listing opens and imports nothing, and sees files that came since; ``catalog["name"]`` and
    ``catalog.name`` open one. ``catalog["facility.beamline"]`` is the entry ``beamline`` of ``facility``, a
    catalog of catalogs. Of catalogs with one name the first wins: those of packages, then databroker's
    folders, then Intake's; `hidden` has the others. A file that cannot be read is one of the `problems`, and
    opening its name raises with the reason.

    Parameters
    ----------
    search_path : sequence of str or path, optional
        Folders and YAML files, those that win first, instead of databroker's and Intake's.
    group : str or None
        Entry point group of packages' catalogs; None leaves them out.

    Raises
    ------
    CatalogNotFound
        From ``catalog[name]``, a `KeyError`: nothing has this name.
    StoreUnavailable, MissingDependency, PluginError
        From ``catalog[name]``: it cannot be opened, and why.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> _ = (folder / "beamlines.yml").write_text(
    ...     "sources: {hx: {driver: bluesky-jsonl-catalog, args: {paths: '{{ CATALOG_DIR }}/hx'}}}"
    ... )
    >>> catalog = InstalledCatalogs([folder], group=None)
    >>> list(catalog), catalog.hx
    (['hx'], <BlueskyJSONLCatalog hx>)
    """

    def __init__(
        self, search_path: Sequence[str | Path] | None = None, *, group: str | None = "intake.catalogs"
    ) -> None:
        self._search_path = None if search_path is None else tuple(map(str, search_path))
        self._group = group
        self._read: dict[str, tuple[tuple[int, int, int], Contents]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self._search_path, group=self._group), ()

    @property
    def places(self) -> tuple[CatalogLocation, ...]:
        """The places of YAML files, those that win first."""
        if self._search_path is None:
            return tuple(search_path())
        return tuple(CatalogLocation(path, "the search path") for path in self._search_path)

    @property
    def offered(self) -> Mapping[str, Offered]:
        """The catalogs by name, unopened: each with its origin, driver and description."""
        return self._listing().offered

    @property
    def hidden(self) -> tuple[Offered, ...]:
        """Catalogs that are hidden by another of the same name."""
        return tuple(self._listing().hidden)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Files and folders that could not be read, and why."""
        return tuple(self._listing().problems)

    def _listing(self) -> _Listing:
        listing = _Listing()
        for one in installed(self._group) if self._group else ():
            listing.add(one)
        for place in self.places:
            files, problem = yaml_files(place)
            if problem is not None:
                listing.problems.append(problem)
            for path in files:
                listing.add_contents(self._contents(path))
        return listing

    def _contents(self, path: str) -> Contents:
        """What the file offers; read again only if it changed."""
        try:
            seen = os.stat(path)
        except OSError:
            return read_file(path)
        # The inode too: editors write a new file and rename it, maybe of the same size within one tick of the clock.
        stamp = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
        known, contents = self._read.get(path, (None, Contents()))
        if known != stamp:
            contents = read_file(path)
            self._read[path] = (stamp, contents)
        return contents

    def __getitem__(self, name: str) -> Any:
        listing = self._listing()
        if name in listing.offered:
            return listing.offered[name].open()
        parts = str(name).split(".")
        # The longest name first: a catalog may have dots in its own.
        for count in range(len(parts) - 1, 0, -1):
            parent = ".".join(parts[:count])
            if parent in listing.offered:
                return _entry(listing.offered[parent].open(), parent, parts[count:])
        # After the others: a file that broke may share its name with a catalog elsewhere that opens.
        if name in listing.broken:
            problem = listing.broken[name]
            raise StoreUnavailable(f"the catalog {name!r} cannot be opened: {problem.where}: {problem.message}")
        raise CatalogNotFound(self._unknown(name, listing))

    def _unknown(self, name: str, listing: _Listing) -> str:
        looked = ", ".join(place.path for place in self.places)
        there = ", ".join(listing.offered) or "none"
        return f"no installed catalog is called {name!r}; there are: {there}. Looked for YAML files in {looked}"

    def __getattr__(self, name: str) -> Any:
        # IPython, copy and pickle probe for private names; each would list all files.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        try:
            return self[name]
        except CatalogNotFound as error:
            raise AttributeError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._listing().offered))

    def __len__(self) -> int:
        return len(self._listing().offered)

    def __contains__(self, name: object) -> bool:
        return name in self._listing().offered

    def __hash__(self) -> int:
        return hash((self._search_path, self._group))

    def __eq__(self, other: object) -> bool:
        """Whether it looks in the same places: a mapping's own would open every catalog."""
        same = isinstance(other, InstalledCatalogs) and self._search_path == other._search_path
        return same and self._group == other._group  # type: ignore[attr-defined]  # one of these, if the same

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *filter(str.isidentifier, self)})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def _repr_html_(self) -> str:
        listing = self._listing()
        offered = sorted(listing.offered.values(), key=lambda one: one.name)
        rows = [EntryRow(one.name, one.driver or "", one.description or "", one.where) for one in offered]
        return entries_html("installed catalogs", "", rows, [f"{one.where}: {one.message}" for one in listing.problems])

    def __repr__(self) -> str:
        listing = self._listing()
        names = sorted(listing.offered)
        width = max(map(len, names), default=0)
        lines = [f"  {name:{width}}  {listing.offered[name].where}" for name in names[:SHOWN]]
        if len(names) > SHOWN:
            lines.append(f"  ... {len(names) - SHOWN} more")
        lines += [f"  problem: {one.where}: {one.message}" for one in listing.problems]
        return "\n".join([f"<{len(names)} installed catalog{'' if len(names) == 1 else 's'}>", *lines])


def _entry(found: Any, where: str, parts: Sequence[str]) -> Any:
    """Follow a dotted name down."""
    for part in parts:
        try:
            found = found[part]
        except IntakeBlueskyError:
            raise
        # What sources without entries raise: Intake's own raise any of these.
        except (KeyError, TypeError, NotImplementedError):
            names = ", ".join(map(str, found)) if isinstance(found, Mapping) or hasattr(found, "_entries") else ""
            raise CatalogNotFound(f"{where!r} has no entry {part!r}; it has: {names or 'none'}") from None
        where = f"{where}.{part}"
    return found
