"""Where hierarchies are: folders and buckets, as zarr's stores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from intake_bluesky.errors import IntakeBlueskyError, StoreUnavailable
from intake_bluesky.objects import Objects, objects_at
from intake_bluesky.objects.cloud import CloudObjects
from intake_bluesky.objects.local import LocalObjects
from intake_bluesky.runtime.filesystems import check_filesystems
from intake_bluesky.runtime.secrets import shown

__all__ = ["RunPlace"]


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A folder of this machine, or at a URL of fsspec.

    Attributes
    ----------
    url : str
    storage_options : mapping
        As fsspec takes them.
    """

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What comes after the last slash."""
        return self.url.rpartition("/")[2]

    @property
    def is_zip(self) -> bool:
        """Whether it is one file, by its name."""
        return self.name.endswith(".zip")

    def objects(self) -> tuple[Objects, str]:
        """The objects of the bucket, or of this machine, and the name that this has among them."""
        return objects_at(self.url, self.storage_options)

    def store(self, *, read_only: bool = True) -> tuple[Store, str]:
        """The store of the bucket, or of the folder above, and the name that this has in it.

        Raises
        ------
        MissingDependency
            When the package for this kind of URL is not installed.
        """
        objects, name = self.objects()
        if isinstance(objects, LocalObjects):
            return LocalStore(os.path.dirname(name), read_only=read_only), os.path.basename(name)
        made = objects.obstore("") if isinstance(objects, CloudObjects) else None
        if made is not None:
            return ObjectStore(made, read_only=read_only), name
        check_filesystems(self.url)
        above, _, name = self.url.rpartition("/")
        above += "/" * above.endswith("/")  # of memory://run.zarr
        return FsspecStore.from_url(above, storage_options=dict(self.storage_options), read_only=read_only), name

    @contextmanager
    def named(self, what: str) -> Iterator[None]:
        """Say of an error that this place could not be ``read`` or ``written``: packages raise any type for that."""
        try:
            yield
        except IntakeBlueskyError:
            raise
        except Exception as error:  # noqa: BLE001  # see above
            told = (str(error).splitlines() or [""])[0]  # what follows is of the inside of a package
            message = f"{shown(self.url)} cannot be {what}: {type(error).__name__}: {shown(told)}"
            raise StoreUnavailable(message) from None
