"""The store that a run is written through: nobody sees a run before all of it is there."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.buffer.cpu import Buffer as Bytes

from intake_bluesky.datasets.zarr_runs import targets
from intake_bluesky.datasets.zarr_runs.places import RunPlace
from intake_bluesky.datasets.zarr_runs.targets import METADATA, FileTarget, FolderTarget

__all__ = ["Staged"]


class Staged(Store):
    """Gives chunks on as they come, and keeps metadata until `finish`.

    Parameters
    ----------
    folder : RunPlace or None
        The hierarchy as a folder.
    file : RunPlace or None
        The hierarchy as one zip file. Where both are given it is the file, if that is no larger than `targets.SMALL`.
    """

    def __init__(self, folder: RunPlace | None, file: RunPlace | None) -> None:
        super().__init__(read_only=False)
        self.metadata: dict[str, bytes] = {}
        self._folder = FolderTarget(folder) if folder else None
        self._file = FileTarget(file) if file else None
        self._small = self._file is not None  # so far
        self._checksums: dict[str, int] = {}
        self._undone, self._writing = False, 0

    async def begin(self, *, overwrite: bool) -> None:
        """Refuse, or remove, what is there already.

        Raises
        ------
        UnsupportedOperation
        """
        if self._file:
            await self._file.begin(overwrite=overwrite)
        if self._folder:
            await self._folder.begin(overwrite=overwrite)

    async def finish(self, groups: Mapping[str, Mapping[str, Any]]) -> RunPlace:
        """Write the metadata, that of the root last.

        Parameters
        ----------
        groups : mapping of path to metadata
            Those of the groups; ``""`` is the root.
        """
        documents = {**self.metadata, **{f"{path}/{METADATA}".lstrip("/"): _text(own) for path, own in groups.items()}}
        del documents[METADATA]
        for key, text in documents.items():
            await self._put(key, Bytes.from_bytes(text))
        root = dict(groups[""])
        # So that a root over other values has another ETag, whatever else is the same.
        root["attributes"] = {**root["attributes"], "checksum": self._checksum()}
        await self._put(METADATA, Bytes.from_bytes(_text(root)))
        if self._small and self._file:
            await self._file.write()
            return self._file.place
        assert self._folder is not None
        if self._file:  # a run that was small before
            await self._file.remove()
        return self._folder.place

    async def undo(self) -> None:
        """Remove what was written of a run that cannot be finished."""
        self._undone = True
        while self._writing:  # noqa: ASYNC110  # by tasks beside the one that failed; an Event is of one loop
            await asyncio.sleep(0.01)
        if self._folder and not self._small:
            await self._folder.remove()

    def close(self) -> None:
        if self._file:
            self._file.close()
        super().close()

    def _checksum(self) -> str:
        told = "".join(f"{key} {crc:08x}\n" for key, crc in sorted(self._checksums.items()))
        return hashlib.sha256(told.encode()).hexdigest()

    async def _put(self, key: str, value: Buffer) -> None:
        self._checksums[key] = zlib.crc32(value.as_numpy_array().data)
        if self._small and self._file:
            if self._folder is None or self._file.size + len(value) <= targets.SMALL:
                self._file.put(key, value)
                return
            self._small = False  # at once: other chunks come while those of before are written
            for name, held in self._file.objects():
                await self._folder.put(name, held)
        assert self._folder is not None
        await self._folder.put(key, value)

    async def _put_chunk(self, key: str, value: Buffer) -> None:
        if self._undone:
            raise io.UnsupportedOperation("this run is not written any more")
        self._writing += 1
        try:
            await self._put(key, value)
        finally:
            self._writing -= 1

    # What zarr asks of a store: metadata is in memory, and no chunk is written twice or read.

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        held = self.metadata.get(key)
        return None if held is None else prototype.buffer.from_bytes(held)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        return key in self.metadata

    async def set(self, key: str, value: Buffer) -> None:
        if key.rpartition("/")[2] == METADATA:
            self.metadata[key] = value.to_bytes()
        else:
            await self._put_chunk(key, value)

    async def delete(self, key: str) -> None:
        raise io.UnsupportedOperation("a run is written once")

    @property
    def supports_writes(self) -> bool:
        return True

    @property
    def supports_deletes(self) -> bool:
        return False

    @property
    def supports_listing(self) -> bool:
        return False

    async def list(self) -> AsyncIterator[str]:
        for key in self.metadata:
            yield key

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        return self.list()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        return self.list()

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = Store.__hash__


def _text(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
