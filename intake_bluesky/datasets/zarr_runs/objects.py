"""The store that a run is read through: in a folder or in a zip file, each object with one request."""

from __future__ import annotations

import io
import zlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, Self

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from intake_bluesky.datasets.zarr_runs.places import RunPlace
from intake_bluesky.datasets.zarr_runs.targets import METADATA
from intake_bluesky.datasets.zarr_runs.zip_members import LOCAL_HEAD, ZipMembers, head_length
from intake_bluesky.errors import DamagedRun
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import shown

__all__ = ["RunObjects"]

TAIL: Final = 2**18
"""Bytes at the end of a zip file that are read first: its directory, the metadata, and all of a small run."""
LONGEST_TAIL: Final = 2**25
"""Bytes that the directory and the metadata may take."""


class RunObjects(Store):
    """The objects of one hierarchy, for reading.

    A chunk that is not there is an error: `write_run` writes each one, and Zarr would take it for fill values.

    Parameters
    ----------
    place : RunPlace
        Of a folder, or of a zip file whose members are not compressed.
    """

    def __init__(self, place: RunPlace) -> None:
        super().__init__(read_only=True)
        self.place = place
        self._made: PerProcess[tuple[Store, str]] = PerProcess()
        self._directory: ZipMembers | None = None
        self._heads: dict[str, int] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunObjects) and self.place == other.place

    __hash__ = Store.__hash__

    def __repr__(self) -> str:
        return f"RunObjects({shown(self.place.url)!r})"

    def with_read_only(self, read_only: bool = False) -> Self:
        if not read_only:
            raise io.UnsupportedOperation("a run is read here, not written")
        return self

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        prototype = prototype or default_buffer_prototype()
        if not self.place.is_zip:
            found = await self._get(key, prototype, byte_range)
        elif (directory := await self._members()) is not None and key in directory.spans:
            found = await self._member(directory, key, prototype, byte_range)
        else:
            found = None
        if found is None and key.rpartition("/")[2] != METADATA:
            raise DamagedRun(f"{shown(self.place.url)} has no {key}: it was removed, or never copied there")
        return found

    @property
    def _inner(self) -> tuple[Store, str]:
        """A store, and the name of the folder or file in it."""
        return self._made.get(self.place.store)

    @property
    def is_local(self) -> bool:
        """Whether it is on a disk of this machine, of which no request waits for an answer."""
        return isinstance(self._inner[0], LocalStore)

    async def _get(self, key: str, prototype: BufferPrototype, part: ByteRequest | None) -> Buffer | None:
        """Fetch an object of the folder; ``""`` is the file."""
        with self.place.named("read"):
            try:
                store, name = self._inner
                return await store.get(f"{name}/{key}" if key else name, prototype, part)
            except FileNotFoundError:  # of a store whose folder is not there
                return None

    async def _members(self) -> ZipMembers | None:
        """The directory of the zip file; None where there is no file."""
        length, found = TAIL, self._directory
        while found is None:
            tail = await self._get("", default_buffer_prototype(), SuffixByteRequest(length))
            if tail is None:
                return None
            try:
                found = self._directory = ZipMembers(tail.to_bytes())
            except ValueError as error:
                if len(tail) < length or length >= LONGEST_TAIL:
                    raise DamagedRun(f"{shown(self.place.url)} holds no run: {error}") from error
                length = LONGEST_TAIL
        return found

    async def _member(
        self, directory: ZipMembers, key: str, prototype: BufferPrototype, part: ByteRequest | None
    ) -> Buffer | None:
        begin, end, size = directory.spans[key]
        wanted = _slice(part, size)
        held = directory.held(key)
        if held is None and part is None:
            # Up to the next member: how long its own head is, the directory does not say.
            whole = await self._get("", prototype, RangeByteRequest(begin, end))
            held = None if whole is None else self._checked(directory, key, whole.to_bytes())
        if held is not None:
            first = head_length(held)
            return prototype.buffer.from_bytes(held[first : first + size][wanted])
        if key not in self._heads:
            head = await self._get("", prototype, RangeByteRequest(begin, begin + LOCAL_HEAD.size))
            if head is None:
                return None
            self._heads[key] = head_length(head.to_bytes())
        first, (start, stop, _) = begin + self._heads[key], wanted.indices(size)
        return await self._get("", prototype, RangeByteRequest(first + start, first + stop))

    def _checked(self, directory: ZipMembers, key: str, member: bytes) -> bytes:
        """A member as it was fetched: the file may be another by now than the one whose directory is known."""
        begin = head_length(member) if len(member) >= LOCAL_HEAD.size else len(member)
        value = memoryview(member)[begin : begin + directory.spans[key][2]]
        if len(value) != directory.spans[key][2] or zlib.crc32(value) != directory.checksums[key]:
            raise DamagedRun(f"{shown(self.place.url)} is damaged, or was replaced after it was opened: open it again")
        return member

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        return await self.get(key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        raise io.UnsupportedOperation("a run is read here, not written")

    async def delete(self, key: str) -> None:
        raise io.UnsupportedOperation("a run is read here, not written")

    @property
    def supports_writes(self) -> bool:
        return False

    @property
    def supports_deletes(self) -> bool:
        return False

    @property
    def supports_listing(self) -> bool:
        return False

    async def list(self) -> AsyncIterator[str]:
        raise io.UnsupportedOperation("the metadata of a run lists what there is")
        yield ""

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        return self.list()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        return self.list()


def _slice(part: ByteRequest | None, size: int) -> slice:
    """The bytes that are asked for, of an object of some size."""
    if isinstance(part, RangeByteRequest):
        return slice(part.start, part.end)
    if isinstance(part, OffsetByteRequest):
        return slice(part.offset, size)
    if isinstance(part, SuffixByteRequest):
        return slice(max(size - part.suffix, 0), size)
    return slice(0, size)
