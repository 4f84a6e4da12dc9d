"""Catalogs of YAML files, and the one function that opens them."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import fsspec
import intake
from intake.catalog.base import Catalog, VersionError
from intake.catalog.local import UserParameter, YAMLFileCatalog, YAMLFilesCatalog

from intake_bluesky.catalogs.driver_of_files import driver_of_files
from intake_bluesky.catalogs.yaml_files.display import ListsEntries
from intake_bluesky.catalogs.yaml_files.entries import SourceParser, opens_nested
from intake_bluesky.catalogs.yaml_files.parameters import SharesParameters
from intake_bluesky.catalogs.yaml_files.text import load, what_is_wrong
from intake_bluesky.errors import IntakeBlueskyError, StoreUnavailable, UntrustedName
from intake_bluesky.runtime.filesystems import check_filesystems
from intake_bluesky.runtime.patterns import as_pattern, is_pattern
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.runtime.trust import TRUST, is_local

__all__ = ["YAMLCatalog", "YAMLCatalogs", "open_catalog"]

LARGEST: Final = 16 * 2**20
"""Bytes of a YAML file from elsewhere."""


class YAMLCatalog(SharesParameters, ListsEntries, YAMLFileCatalog):  # type: ignore[misc]  # Intake ships no types
    """The sources of one YAML file; one from elsewhere imports, runs and sends nothing of this machine.

    Parameters
    ----------
    path : str
    trust : bool
        Open a file from elsewhere as one of this machine.
    **kwargs
        Of Intake's catalog of a YAML file.
    """

    name = "yaml_file_cat"
    metadata: dict[str, Any]
    description: str | None

    def __init__(self, path: Any = None, *, trust: bool = False, **kwargs: Any) -> None:
        self.trust = trust
        self._trusted = trust or (is_local(str(path)) if isinstance(path, (str, Path)) else True)
        if not self._trusted:
            kwargs.setdefault("getenv", False)
        super().__init__(path, **kwargs)

    def _load(self, reload: bool = False) -> None:
        if isinstance(self.path, str) and not is_local(self.path):
            check_filesystems(self.path)
        if self._trusted or self.access is False:
            super()._load(reload)
            return
        if self.autoreload or reload:
            from intake.catalog.local import get_dir

            self.filesystem, name = fsspec.url_to_fs(self.path, **(self.storage_options or {}))
            with self.filesystem.open(name, "rb") as file:
                content = file.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise UntrustedName(f"{shown(self.path)} is larger than the {LARGEST} bytes that a catalog may have")
            self._dir = get_dir(self.path)
            self.parse(content.decode())

    def parse(self, text: str) -> None:
        """Make the entries.

        Raises
        ------
        StoreUnavailable
            When it is no YAML of a catalog; the message shows none of its lines.
        UntrustedName
            When it is from elsewhere, and imports modules.
        """
        self.text = text
        try:
            data = load(text)
            told = _parsed(data, self)
        except (IntakeBlueskyError, VersionError):
            raise
        except Exception as error:  # noqa: BLE001  # as YAML and Intake raise whatever they like
            # Not as a cause: a traceback would show the file's own lines.
            raise StoreUnavailable(
                f"{shown(str(self.path))} is no catalog that Intake opens: {what_is_wrong(error)}"
            ) from None
        self._entries = {}
        shared = (data.get("metadata") or {}).get("parameters", {})
        self._declare({name: UserParameter(name, **attributes) for name, attributes in shared.items()})
        for entry in told["data_sources"]:
            entry._catalog, entry._filesystem = self, self.filesystem
            self._entries[entry.name] = entry
        self.metadata = {**self.metadata, **(told.get("metadata") or {})}
        self.name = self.name or told.get("name") or self.name_from_path
        self.description = self.description or told.get("description")


def _parsed(data: Any, catalog: YAMLCatalog) -> dict[str, Any]:
    if data is None:
        raise StoreUnavailable(f"{shown(str(catalog.path))} is no catalog that Intake opens: it is empty")
    context = {"root": getattr(catalog, "_dir", "")}
    parser = SourceParser(
        data, trusted=catalog._trusted, trust=catalog.trust, context=context,
        getenv=catalog.getenv, getshell=catalog.getshell,
    )  # fmt: skip
    if parser.errors:
        from intake.catalog.exceptions import ValidationError

        raise ValidationError("", parser.errors)
    return parser.data  # type: ignore[no-any-return]  # Intake has no types


class YAMLCatalogs(SharesParameters, ListsEntries, Catalog):  # type: ignore[misc]  # Intake has no types
    """The sources of several YAML files together.

    Parameters
    ----------
    path : str or list of str
        Files, patterns and folders.
    flatten : bool
        Whether to list the sources of all files; else one catalog a file.
    trust, **kwargs
        As of `YAMLCatalog`.
    """

    name = "yaml_files_cat"

    def __init__(self, path: str | Sequence[str], *, flatten: bool = True, trust: bool = False, **kwargs: Any) -> None:
        self.path, self._flatten, self.trust = path, flatten, trust
        self._options = {name: kwargs[name] for name in ("getenv", "getshell", "storage_options") if name in kwargs}
        self._opened: dict[str, YAMLCatalog] = {}
        super().__init__(**kwargs)
        self.name = self.name or str(path)

    def _load(self) -> None:
        found: dict[str, Any] = {}
        declared: dict[str, Any] = {}
        urls = _urls(self.path, self.storage_options or {})
        if not urls:
            raise StoreUnavailable(f"no catalog in YAML is at {shown(str(self.path))}")
        for url in urls:
            catalog = self._opened.get(url)
            if catalog is None:
                catalog = self._opened[url] = YAMLCatalog(url, trust=self.trust, **self._options)
            catalog.reload()
            declared |= catalog.user_parameters
            offered = catalog._entries if self._flatten else {catalog.name_from_path: catalog}
            if offered.keys() & found.keys():
                raise StoreUnavailable(
                    f"several of the files of {self.path} have a source of one name: open one by one"
                )
            found.update(offered)
        self._declare(declared)
        self._entries = found


def _urls(path: str | Sequence[str], options: dict[str, Any]) -> list[str]:
    """The files that paths, patterns and folders name, local ones as paths."""
    urls: list[str] = []
    for place in [path] if isinstance(path, str) else path:
        one = place if _is_pattern(place) or place.endswith((".yml", ".yaml")) else f"{place.rstrip('/')}/*.y*ml"
        if "://" not in one and "::" not in one:
            one = os.path.expanduser(one)
            urls += sorted(glob.glob(as_pattern(one))) if is_pattern(one) else [one]
            continue
        check_filesystems(one)
        files = fsspec.open_files(one, mode="rb", **options)
        urls += [file.path if is_local(place) else file.fs.unstrip_protocol(file.path) for file in files]
    return urls


def _is_pattern(place: str) -> bool:
    return glob.has_magic(place) if "://" in place or "::" in place else is_pattern(place)


opens_nested(YAMLCatalog, YAMLFileCatalog)
opens_nested(YAMLCatalogs, YAMLFilesCatalog)


def open_catalog(uri: Any = None, *, trust: bool = False, **kwargs: Any) -> Any:
    """Open a YAML file, or several, as `intake.open_catalog` does, and run nothing that a file from elsewhere says.

    Of a file from elsewhere (a URL), and of one that a file of this machine names: templates know ``CATALOG_DIR`` and
    the parameters that the file declares, and nothing of Python; ``env(...)`` stays as it is written, unless
    ``getenv=True`` is passed; ``plugins:`` and drivers that no installed package has registered are refused.

    Parameters
    ----------
    uri : str, Path or list of str
        Files, a folder, a pattern, URLs. A folder of this machine without YAML is opened as one of runs.
    trust : bool
        Open files from elsewhere as those of this machine: **they may run any code**.
    **kwargs
        Of `intake.open_catalog`; with ``driver`` it is that.

    Raises
    ------
    StoreUnavailable
        When a file is no catalog; no message shows what is in it. When there is neither YAML nor a run.
    UntrustedName
        When a file from elsewhere names what it may not.
    """
    if kwargs.get("driver") is not None or not uri:
        return intake.open_catalog(uri, **kwargs)
    places = [os.fspath(place) for place in ([uri] if isinstance(uri, (str, os.PathLike)) else uri)]
    if places[0].startswith("intake:"):
        raise UntrustedName(f"{shown(places[0])} is a server of Intake's, which names drivers of its choice. {TRUST}")
    if len(places) > 1 or _is_pattern(places[0]) or not places[0].endswith((".yml", ".yaml")):
        kwargs.pop("fs", None)
        path = os.path.expanduser(places[0])
        if len(places) == 1 and is_local(path) and not _urls(path, {}):
            return driver_of_files(path).from_location(path, **kwargs)
        return YAMLCatalogs(places[0] if len(places) == 1 else places, trust=trust, **kwargs)
    try:
        return YAMLCatalog(places[0], trust=trust, **kwargs)
    except VersionError:
        if not (trust or is_local(places[0])):
            raise UntrustedName(
                f"{shown(places[0])} is of version 2 of Intake's files, which name Python objects. {TRUST}"
            ) from None
        try:
            return intake.from_yaml_file(places[0], **kwargs)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever Intake raises may quote the file
            raise StoreUnavailable(
                f"{shown(places[0])} says version 2 and is no such catalog: {type(error).__name__}"
            ) from None
