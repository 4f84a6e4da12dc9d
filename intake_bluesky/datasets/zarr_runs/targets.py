"""What a run is written to: a folder, object by object, or one zip file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from zarr.abc.buffer import Buffer
from zarr.buffer.cpu import Buffer as Bytes

from intake_bluesky.datasets.zarr_runs.places import RunPlace
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.runtime.secrets import shown

__all__ = ["METADATA", "SMALL", "FileTarget", "FolderTarget"]

METADATA = "zarr.json"
"""The name of the metadata of an array or a group."""
SMALL = 64 * 2**20
"""Bytes of a run, compressed, up to which it is one file where that is left open; that many are held in memory."""


class FolderTarget:
    """A hierarchy as a folder, here or in a bucket."""

    def __init__(self, place: RunPlace) -> None:
        self.place = place
        self._store, self._name = place.store(read_only=False)

    async def begin(self, *, overwrite: bool) -> None:
        """Refuse what is there already, or remove it.

        Raises
        ------
        UnsupportedOperation
        """
        with self.place.named("written"):
            if await self._store.is_empty(f"{self._name}/"):
                return
            if not overwrite:
                raise _taken(self.place)
            if not await self._store.exists(f"{self._name}/{METADATA}"):
                raise UnsupportedOperation(
                    f"{shown(self.place.url)} is no Zarr hierarchy, or one that was never finished: it is not removed "
                    "for you. Remove it, or take another name"
                )
            await self._store.delete(f"{self._name}/{METADATA}")  # first, so that nobody reads what is left of it
            await self.remove()

    async def put(self, key: str, value: Buffer) -> None:
        """Write one object."""
        with self.place.named("written"):
            await self._store.set(f"{self._name}/{key}", value)

    async def remove(self) -> None:
        """Remove all of it."""
        with self.place.named("written"):
            await self._store.delete_dir(self._name)


class FileTarget:
    """A hierarchy as a zip file, whose members are not compressed: it is put together here and written at once."""

    def __init__(self, place: RunPlace) -> None:
        self.place = place
        self._store, self._name = place.store(read_only=False)
        self._bytes = tempfile.SpooledTemporaryFile(max_size=SMALL)  # noqa: SIM115  # as long as this
        self._members = ZipFile(self._bytes, "w", ZIP_STORED)

    async def begin(self, *, overwrite: bool) -> None:
        """Refuse what is there already; if it is to be replaced, it stays until the new file is whole.

        Raises
        ------
        UnsupportedOperation
        """
        with self.place.named("written"):
            if not overwrite and await self._store.exists(self._name):
                raise _taken(self.place)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._bytes.tell()

    def put(self, key: str, value: Buffer) -> None:
        """Add one object."""
        info = ZipInfo(key)  # of 1980: the same run makes the same file
        info.external_attr = 0o644 << 16
        self._members.writestr(info, value.to_bytes())

    def objects(self) -> Iterator[tuple[str, Buffer]]:
        """Give what was put here."""
        for name in self._members.namelist():
            yield name, Bytes.from_bytes(self._members.read(name))

    async def write(self) -> None:
        """Write the file."""
        self._members.close()
        self._bytes.seek(0)
        with self.place.named("written"):
            await self._store.set(self._name, Bytes.from_bytes(self._bytes.read()))

    async def remove(self) -> None:
        """Remove the file, if there is one of before."""
        with self.place.named("written"):
            if await self._store.exists(self._name):
                await self._store.delete(self._name)

    def close(self) -> None:
        """Let go of what was put together."""
        self._members.close()
        self._bytes.close()


def _taken(place: RunPlace) -> UnsupportedOperation:
    return UnsupportedOperation(f"there is something at {shown(place.url)} already: overwrite=True replaces it")
