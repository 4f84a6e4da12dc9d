"""From the arguments of a command to a catalog and a run."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, cast

from intake_bluesky.catalogs import catalog
from intake_bluesky.catalogs.drivers import DriverCatalog, driver_of, opened_by
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog
from intake_bluesky.errors import CatalogNotFound, IntakeBlueskyError, RunNotFound, StoreUnavailable
from intake_bluesky.runtime.patterns import as_pattern
from intake_bluesky.runtime.secrets import shown

if TYPE_CHECKING:
    from intake_bluesky.catalogs.run import BlueskyRun

__all__ = ["check_readable", "find_catalog", "find_run"]

YAML: Final = re.compile(r"(?P<file>.+\.ya?ml)(?::(?P<entry>[^/\\]+))?")
MOST: Final = 16  # first bytes of a file, as many as a signature of a driver may have
LOOKED_INTO: Final = 2000  # folders in which runs are looked for below one that has none
SHOWN: Final = 3  # of these that a message names
COMPRESSION: Final = (".gz", ".zst")


def find_catalog(text: str) -> BlueskyCatalog:
    """Open the catalog that a command was given.

    Parameters
    ----------
    text : str
        A YAML file, ``:entry`` or ``:nested.entry`` after it unless it has but one; a folder, file or pattern
        of run files; the URI of a database, or an SQLite file; or the name of an installed catalog,
        ``.nested.entry`` after it.

    Raises
    ------
    StoreUnavailable
        When nothing has that name, or when it is no catalog of runs.
    """
    yaml = YAML.fullmatch(text)
    if yaml:
        return _entry(_open_yaml(yaml["file"]), yaml["entry"], yaml["file"])
    scheme, is_url, _ = text.partition("://")
    schemes = opened_by(lambda driver: driver.url_schemes) if is_url else {}
    if scheme in schemes:
        return _open(driver_of(scheme, schemes), text)
    # A driver that claims an ending knows better than one that knows the first bytes: many formats are SQLite files.
    by_content = None if _suffix(text, _suffixes()) else _by_signature(text)
    if by_content is not None:
        return _open(by_content, text)
    if _is_path(text):
        return _open(_by_suffix(text), text)
    return _installed(text)


def check_readable(catalog: BlueskyCatalog) -> None:
    """Refuse a catalog in which nothing was found because none of its runs can be read.

    Raises
    ------
    StoreUnavailable
    """
    problems = catalog.problems
    if problems and not catalog.store.count():
        first, more = problems[0], f" ({len(problems)} problems in all: see validate)" if len(problems) > 1 else ""
        raise StoreUnavailable(f"none of the runs can be read: {first.where}: {first.message}{more}")


def _open(driver: type[DriverCatalog], text: str) -> BlueskyCatalog:
    return cast("BlueskyCatalog", driver.from_location(text))


def _installed(name: str) -> BlueskyCatalog:
    try:
        found = catalog[name]
    except CatalogNotFound as error:
        why = f"no YAML file, no folder, no file or pattern of {_kinds()}, and {error}"
        raise StoreUnavailable(f"{shown(name)} is no catalog: {why}") from error
    except IntakeBlueskyError as error:
        line, more, _ = str(error).partition(":\n")  # YAML follows, which one line cannot hold
        raise (type(error)(f"{line}: intake-bluesky catalogs --yaml {name}") if more else error) from error
    if isinstance(found, BlueskyCatalog):
        return found
    entries = [f"{name}.{entry}" for entry in found] if getattr(found, "container", "") == "catalog" else []
    advice = f": choose one of its entries, {', '.join(entries)}" if entries else ""
    raise StoreUnavailable(f"{name!r} is a {type(found).__name__}, not a catalog of Bluesky runs{advice}")


def _open_yaml(path: str) -> Any:
    if "://" not in path and not os.path.isfile(path):
        raise StoreUnavailable(f"there is no file {path}")
    try:
        return open_catalog(path)
    except (OSError, IntakeBlueskyError):
        raise
    except Exception as error:  # fsspec raises whatever it likes
        raise StoreUnavailable(
            f"{shown(path)} cannot be opened: {type(error).__name__}: {shown(str(error))}"
        ) from error


def _entry(catalog: Any, name: str | None, where: str) -> BlueskyCatalog:
    """Follow a dotted name down; without one, the only entry."""
    if name is None:
        names = list(catalog)
        if len(names) != 1:
            raise StoreUnavailable(f"{where} has {len(names)} entries: choose one, {where}:{{{','.join(names)}}}")
        name = names[0]
    found = catalog
    for part in name.split("."):
        if part not in list(found):
            raise StoreUnavailable(f"{where} has no entry {name!r}; it has {', '.join(map(repr, found)) or 'none'}")
        found = found[part]
    if not isinstance(found, BlueskyCatalog):
        raise StoreUnavailable(f"{name!r} of {where} is a {type(found).__name__}, not a catalog of Bluesky runs")
    return found


def _is_path(text: str) -> bool:
    is_pattern = any(mark in text for mark in "*?[/\\")
    return "://" in text or is_pattern or os.path.exists(text) or bool(_suffix(text, _suffixes()))


def _by_signature(path: str) -> type[DriverCatalog] | None:
    if not os.path.isfile(path):
        return None
    signatures = opened_by(lambda driver: driver.signatures)
    with open(path, "rb") as file:
        begin = file.read(MOST)
    found = [signature for signature in signatures if begin.startswith(signature)]
    return driver_of(found[0], signatures) if found else None


def _suffixes() -> dict[str, list[type[DriverCatalog]]]:
    return opened_by(lambda driver: driver.suffixes)


def _kinds() -> str:
    return " or ".join(f"*{suffix}" for suffix in sorted(_suffixes()))


def _suffix(path: str, known: Iterable[str]) -> str:
    """The longest suffix of a run file, compression aside; ``""`` for anything else."""
    for compression in COMPRESSION:
        path = path.removesuffix(compression)
    return max(filter(path.endswith, known), key=len, default="")


def _by_suffix(text: str) -> type[DriverCatalog]:
    """The driver by suffix: of the file or pattern, else of what is in the folder or matches."""
    known = _suffixes()
    suffix = _suffix(text, known)
    if suffix:
        return driver_of(suffix, known)
    if "://" in text:
        databases = ", ".join(f"{scheme}://" for scheme in opened_by(lambda driver: driver.url_schemes))
        raise StoreUnavailable(
            f"{shown(text)} is no catalog: end the URL of files with {_kinds()}; databases begin with {databases}"
        )
    names = os.listdir(text) if os.path.isdir(text) else glob.glob(as_pattern(text), recursive=True)
    endings = {_suffix(name, known) for name in names} - {""}
    # What a driver writes decides before what it reads, too: beside runs in MessagePack there may be any JSON.
    found = {driver_of(ending, known): ending for ending in endings}
    written = [driver for driver in found if driver.suffixes[0] in endings] or list(found)
    if len(written) == 1:
        return written[0]
    if written:
        raise StoreUnavailable(f"{text} has files of several kinds: give a pattern that ends with one of them")
    yaml = sorted(name for name in names if name.endswith((".yml", ".yaml")))
    named = ", ".join(os.path.join(text, name) if os.path.isdir(text) else name for name in yaml)
    advice = f", but a catalog in YAML: give {named}" if named else ""
    below = "" if named else _below(text)
    raise StoreUnavailable(f"{text} is no catalog: it has no files of {_kinds()}{advice}{below}")


def _below(folder: str) -> str:
    """Name the folders with runs that are found below a folder, looking into `LOOKED_INTO` at most."""
    written = [driver.suffixes[0] for driver in set(chain(*opened_by(lambda one: one.suffixes).values()))]
    found = []
    for place, folders, names in islice(os.walk(folder) if os.path.isdir(folder) else (), LOOKED_INTO):
        folders.sort()
        if any(_suffix(name, written) for name in names):
            found.append(place)
        folders[:] = [name for name in folders if not name.startswith(".") and place not in found]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f", but below it are runs in {', '.join(found[:SHOWN])}{more}: give one of these folders" if found else ""


def find_run(catalog: BlueskyCatalog, text: str) -> BlueskyRun:
    """Find a run by uid, beginning of a uid, scan_id, or negative place.

    Raises
    ------
    RunNotFound, AmbiguousRun
    """
    try:
        if re.fullmatch(r"-\d+", text):
            return catalog[int(text)]
        # Digits alone may be a scan_id or the beginning of a uid: people mostly type the former.
        if text.isdecimal():
            return _numbered(catalog, text)
    except IndexError as error:
        raise RunNotFound(str(error)) from error
    return catalog[text]


def _numbered(catalog: BlueskyCatalog, text: str) -> BlueskyRun:
    """The run of that scan_id, else the one whose uid begins so."""
    try:
        return catalog[int(text)]
    except RunNotFound as error:
        try:
            return catalog[text]
        except RunNotFound:
            raise error from None
