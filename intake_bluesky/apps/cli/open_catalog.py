"""From the arguments of a command to a catalog and a run."""

from __future__ import annotations

import inspect
import os
import re
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from intake_bluesky.catalogs import catalog
from intake_bluesky.catalogs.driver_of_files import driver_of_files, ending_of, kinds
from intake_bluesky.catalogs.drivers import DRIVERS, DriverCatalog, driver_of, opened_by
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog
from intake_bluesky.catalogs.yaml_files.named_entry import YAML_ENTRY, named_entry
from intake_bluesky.errors import (
    CatalogNotFound,
    DamagedPack,
    IntakeBlueskyError,
    RunNotFound,
    StoreUnavailable,
    UntrustedName,
)
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.search.unknown_keys import why_empty

if TYPE_CHECKING:
    from intake_bluesky.catalogs.run import BlueskyRun

__all__ = ["SQLITE", "check_readable", "find_catalog", "find_run", "find_target"]

SQLITE: Final = (".db", ".sqlite", ".sqlite3")
MOST: Final = 16  # first bytes of a file, as many as a signature of a driver may have


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
    yaml = YAML_ENTRY.fullmatch(text)
    if yaml:
        return _entry(_open_yaml(yaml["file"]), yaml["entry"], yaml["file"])
    scheme, is_url, _ = text.partition("://")
    schemes = opened_by(lambda driver: driver.url_schemes) if is_url else {}
    if scheme in schemes:
        return _open(driver_of(scheme, schemes), text)
    # A driver that claims an ending knows better than one that knows the first bytes: many formats are SQLite files.
    by_content = None if ending_of(text) else _by_signature(text)
    if by_content is not None:
        return _open(by_content, text)
    if text.lower().endswith(".zip") and os.path.isfile(text):
        _tell_of_pack(text)
    if _is_path(text):
        return _open(driver_of_files(text), text)
    return _installed(text)


def find_target(text: str, driver: str | None = None) -> BlueskyCatalog:
    """Open the catalog that runs are to be written into; files and folders need not be there yet.

    Parameters
    ----------
    text : str
        As of `find_catalog`. A pattern, ``new/*.jsonl``, says of which kind new files are, ``.db`` and ``.sqlite`` are
        SQLite files.
    driver : str, optional
        The driver, ``jsonl`` or ``bluesky-jsonl-catalog``, of what does not say its kind.

    Raises
    ------
    StoreUnavailable
    """
    if driver is not None:
        named = driver if driver in DRIVERS.names() else f"bluesky-{driver}-catalog"
        found = DRIVERS.get(named)
        if not (isinstance(found, type) and issubclass(found, DriverCatalog)):
            raise StoreUnavailable(f"--driver {driver} is no driver of runs: give jsonl, msgpack, sql ...")
        return _writable(found, text)
    scheme, is_url, _ = text.partition("://")
    schemes = opened_by(lambda one: one.url_schemes)
    if is_url and scheme in schemes:
        return _writable(driver_of(scheme, schemes), text)
    if text.endswith(SQLITE) and not os.path.exists(text) and "sqlite" in schemes:
        return _writable(driver_of("sqlite", schemes), text)
    new = not is_url and not YAML_ENTRY.fullmatch(text) and (not os.path.exists(text) or _is_empty(text))
    if not new or ending_of(text):
        return find_catalog(text)
    with suppress(StoreUnavailable):
        return _installed(text)
    raise StoreUnavailable(
        f"{text} is empty or not there, and its name does not say of which kind it is to be: give --driver jsonl, or a "
        f"pattern, '{os.path.join(text, '*.jsonl')}'"
    )


def _is_empty(path: str) -> bool:
    return os.path.isdir(path) and not os.listdir(path)


def _writable(driver: type[DriverCatalog], text: str) -> BlueskyCatalog:
    """The catalog of a driver, one that must be told so for writing."""
    takes = "writable" in inspect.signature(driver).parameters
    return cast("BlueskyCatalog", driver.from_location(text, **({"writable": True} if takes else {})))


def check_readable(catalog: BlueskyCatalog) -> None:
    """Refuse a catalog in which nothing was found because none of its runs can be read.

    Raises
    ------
    StoreUnavailable
    """
    problems = catalog.problems
    if problems and not catalog.store.count():
        raise StoreUnavailable(why_empty(problems, "validate"))


def _tell_of_pack(path: str) -> None:
    """Say how a pack is opened: its runs cannot be read before they are unpacked. Of another zip file nothing is said.

    Raises
    ------
    StoreUnavailable
    """
    from intake_bluesky.transfer.pack_sources import open_pack  # late: few commands are given one

    with suppress(DamagedPack, UntrustedName), open_pack(path) as pack:
        number, folder = len(pack.manifest.runs), os.path.splitext(path)[0]
        command = f"intake-bluesky unpack {shlex.quote(path)} {shlex.quote(folder)}"
        raise StoreUnavailable(
            f"{path} is a pack of {number} {'run' if number == 1 else 'runs'}: `{command}` takes them out, and "
            f"{os.path.join(folder, 'catalog.yml')} is then their catalog"
        )


def _open(driver: type[DriverCatalog], text: str) -> BlueskyCatalog:
    return cast("BlueskyCatalog", driver.from_location(text))


def _installed(name: str) -> BlueskyCatalog:
    try:
        found = catalog[name]
    except CatalogNotFound as error:
        why = f"no YAML file, no folder, no file or pattern of {kinds()}, and {error}"
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
    found = named_entry(catalog, name, where)
    if not isinstance(found, BlueskyCatalog):
        raise StoreUnavailable(f"{name!r} of {where} is a {type(found).__name__}, not a catalog of Bluesky runs")
    return found


def _is_path(text: str) -> bool:
    is_pattern = any(mark in text for mark in "*?[/\\")
    return "://" in text or is_pattern or os.path.exists(text) or bool(ending_of(text))


def _by_signature(path: str) -> type[DriverCatalog] | None:
    if not os.path.isfile(path):
        return None
    signatures = opened_by(lambda driver: driver.signatures)
    with open(path, "rb") as file:
        begin = file.read(MOST)
    found = [signature for signature in signatures if begin.startswith(signature)]
    return driver_of(found[0], signatures) if found else None


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
