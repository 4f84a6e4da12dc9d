"""Runs in files as an Intake catalog: the base class of the catalogs of drivers of files."""

from __future__ import annotations

import glob
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UntrustedName
from intake_bluesky.runtime.patterns import as_pattern
from intake_bluesky.runtime.secrets import without_secrets
from intake_bluesky.runtime.trust import (
    TRUST,
    check_remote,
    is_local,
    origin_of,
    resolve_against,
    without_credentials,
)

if TYPE_CHECKING:
    from intake_bluesky.files.store import FileStore
    from intake_bluesky.storage.contract import RunStore

__all__ = ["FileCatalog", "is_inside"]


class FileCatalog(BlueskyCatalog):
    """The runs of a `FileStore`; a driver is a subclass that names itself and its store.

    Parameters
    ----------
    paths : str, Path or list of them
        Folders, files, patterns, URLs: see `FileStore`. Relative ones are relative to the working directory;
        YAML files write ``{{ CATALOG_DIR }}`` for their own. In the YAML file of a folder made by databroker-pack,
        the ``relative_paths`` of its metadata count where they lead to a folder or file.
    storage_options, directory, compression
        As of `FileStore`; ``storage_options`` are for files that the documents name, too.
    **kwargs
        Of `BlueskyCatalog`.
    """

    WITHOUT_SECRETS = {**BlueskyCatalog.WITHOUT_SECRETS, "paths": without_secrets}
    _forgotten = BlueskyCatalog._forgotten - {"_secrets"}  # those of the store, by which workers read its files

    @staticmethod
    @abstractmethod
    def store_class() -> type[FileStore]:
        """The class of the store, imported when the first catalog is made."""

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        storage_options: Mapping[str, Any] | None = None,
        directory: str | os.PathLike[str] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> None:
        packed = _where_packed(kwargs.get("metadata") or {})
        paths = packed or paths
        store = self.store_class()(paths, storage_options=storage_options, directory=directory, compression=compression)
        self._servers = tuple({origin_of(place.pattern) for place in store.files.locations if "://" in place.pattern})
        super().__init__(store, storage_options=storage_options, **kwargs)
        if packed:  # for a YAML file that is saved elsewhere
            self._captured_init_kwargs = {**self._captured_init_kwargs, "paths": packed}

    @property
    def store(self) -> RunStore:
        """The driver's store: all runs, without transforms."""
        if self._checked_store is None:
            for place in super().store.files.locations:  # type: ignore[attr-defined]  # a store of files
                place.check_installed()
        return super().store

    @classmethod
    def from_elsewhere(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Files on servers of one kind alone, read without this user's credentials; none are written."""
        paths = _where_packed(arguments.get("metadata") or {}) or arguments.get("paths")
        if arguments.get("directory") is not None:
            raise UntrustedName(f"a catalog from elsewhere names a folder to write to, by 'directory'. {TRUST}")
        if paths is None:  # the user's own, which options of the file could send to another server
            if arguments.get("storage_options"):
                raise UntrustedName(
                    "a catalog from elsewhere gives storage_options, which are for its own paths: pass "
                    "storage_options, too, with the paths that you pass ({} for none)"
                )
            return arguments
        several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        places = [check_remote(os.fspath(path), "its paths") for path in several]
        if len({place.partition("://")[0] for place in places}) > 1:
            raise UntrustedName(f"a catalog from elsewhere names paths on servers of several kinds. {TRUST}")
        options = arguments.get("storage_options")
        return {**arguments, **({"storage_options": without_credentials(places[0], options)} if places else {})}


def _where_packed(metadata: Mapping[str, Any]) -> list[str]:
    """Where the runs are beside the YAML file of databroker-pack, whose ``paths`` are those of the machine that packed.

    Unpacked, that file lies elsewhere, with ``paths`` that are right and the same metadata: then nothing is there.
    """
    folder, relative = metadata.get("catalog_dir"), metadata.get("relative_paths")
    if not folder or not isinstance(relative, list) or not all(map(is_inside, relative)):
        return []
    paths = [resolve_against(str(folder), path) for path in relative]
    there = (next(glob.iglob(as_pattern(path.partition("://")[2] or path)), None) for path in paths)
    return paths if not is_local(str(folder)) or any(there) else []


def is_inside(path: Any) -> bool:
    """Whether a path leads to what is in the folder that it is relative to."""
    if not isinstance(path, str) or "://" in path or path.startswith("~"):
        return False
    return not (os.path.isabs(path) or ".." in path.replace("\\", "/").split("/"))
