"""The store that a run is read through: in a folder or in a zip file, each object with one request."""

from __future__ import annotations

import asyncio
import io
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from intake_bluesky.datasets.zarr_runs.places import RunPlace
from intake_bluesky.datasets.zarr_runs.targets import METADATA
from intake_bluesky.datasets.zarr_runs.zip_members import LOCAL_HEAD, ZipMembers, head_length
from intake_bluesky.errors import DamagedRun
from intake_bluesky.objects import ObjectInfo, ObjectReplaced, Objects
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import shown

__all__ = ["RunObjects"]

T = TypeVar("T")

TAIL: Final = 2**18
"""Bytes at the end of a zip file that are read first: its directory, the metadata, and all of a small run."""
LONGEST_TAIL: Final = 2**25
"""Bytes that the directory and the metadata may take."""


class RunObjects(Store):
    """The objects of one hierarchy, for reading.

    A chunk that is not there is an error: `write_run` writes each one, and Zarr would take it for fill values. And so
    is one of a hierarchy that took the place of the one that was opened: its values would stand among those of before.

    Parameters
    ----------
    place : RunPlace
        Of a folder, or of a zip file whose members are not compressed.
    version : str
        The tag of the root's metadata, or of the zip file, that was opened elsewhere; what is there now by default.
    """

    def __init__(self, place: RunPlace, version: str | None = None) -> None:
        super().__init__(read_only=True)
        self.place, self.version = place, version
        self._made: PerProcess[tuple[Store, str]] = PerProcess()
        self._objects: PerProcess[tuple[Objects, str]] = PerProcess()
        self._looking: PerProcess[asyncio.Lock] = PerProcess()
        self._looked = float("-inf")
        self._directory: ZipMembers | None = None
        self._heads: dict[str, int] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place, self.version)

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
        if self.place.is_zip:
            found = await self._member(key, prototype, byte_range)
        elif key == METADATA:
            found = await self._root(prototype)
        else:
            found = await self._inside(key, prototype, byte_range)
        if found is None and key.rpartition("/")[2] != METADATA:
            raise DamagedRun(f"{shown(self.place.url)} has no {key}: it was removed, or never copied there")
        return found

    async def _do(self, action: Callable[[Objects, str], T]) -> T | None:
        """Do something with the root's metadata, or with the zip file; None where there is none."""

        def done() -> T:
            objects, name = self._objects.get(self.place.objects)
            return action(objects, name if self.place.is_zip else f"{name}/{METADATA}")

        with self.place.named("read"), suppress(FileNotFoundError):
            try:
                return await asyncio.to_thread(done)
            except ObjectReplaced:
                raise self._replaced() from None
        return None

    def _opened(self, info: ObjectInfo) -> None:
        if self.version is None:
            self.version = info.tag
        elif info.tag != self.version:
            raise self._replaced()

    def _replaced(self) -> DamagedRun:
        return DamagedRun(f"{shown(self.place.url)} is damaged, or was replaced after it was opened: open it again")

    # A folder

    @property
    def _inner(self) -> tuple[Store, str]:
        """A store, and the name of the folder in it."""
        return self._made.get(self.place.store)

    @property
    def is_local(self) -> bool:
        """Whether it is on a disk of this machine, of which no request waits for an answer."""
        return isinstance(self._inner[0], LocalStore)

    async def _root(self, prototype: BufferPrototype) -> Buffer | None:
        found = await self._do(lambda objects, name: objects.get(name))
        if found is None:
            return None
        self._opened(found[1])
        return prototype.buffer.from_bytes(found[0])

    async def _inside(self, key: str, prototype: BufferPrototype, part: ByteRequest | None) -> Buffer | None:
        with self.place.named("read"):
            try:
                store, name = self._inner
                found = await store.get(f"{name}/{key}", prototype, part)
            except FileNotFoundError:  # of a store whose folder is not there
                return None
        if found is not None and self.version is not None:
            await self._check_root(time.monotonic())
        return found

    async def _check_root(self, since: float) -> None:
        """Look whether the root is still the one that was opened: it is removed first, and written last.

        Chunks that come at once wait for one look: it counts for all that were there when it began.
        """
        async with self._looking.get(asyncio.Lock):
            if self._looked > since:
                return
            began = time.monotonic()
            found = await self._do(lambda objects, name: objects.head(name))
            if found is None:
                raise self._replaced()
            self._opened(found)
            self._looked = began

    # A zip file

    async def _members(self) -> ZipMembers | None:
        """The directory of the zip file; None where there is no file."""
        length, found = TAIL, self._directory
        while found is None:
            answer = await self._do(lambda objects, name: objects.get(name, last=length))  # noqa: B023  # called at once
            if answer is None:
                return None
            tail, info = answer
            self._opened(info)
            try:
                found = self._directory = ZipMembers(tail)
            except ValueError as error:
                if len(tail) < length or length >= LONGEST_TAIL:
                    raise DamagedRun(f"{shown(self.place.url)} holds no run: {error}") from error
                length = LONGEST_TAIL
        return found

    async def _range(self, start: int, stop: int) -> bytes:
        found = await self._do(lambda objects, name: objects.range(name, start, stop, self.version or ""))
        if found is None:
            raise self._replaced()
        return found

    async def _member(self, key: str, prototype: BufferPrototype, part: ByteRequest | None) -> Buffer | None:
        directory = await self._members()
        if directory is None or key not in directory.spans:
            return None
        begin, end, size = directory.spans[key]
        wanted = _slice(part, size)
        held = directory.held(key)
        if held is None and part is None:
            # Up to the next member: how long its own head is, the directory does not say.
            held = self._checked(directory, key, await self._range(begin, end))
        if held is not None:
            first = head_length(held)
            return prototype.buffer.from_bytes(held[first : first + size][wanted])
        if key not in self._heads:
            self._heads[key] = head_length(await self._range(begin, begin + LOCAL_HEAD.size))
        first, (start, stop, _) = begin + self._heads[key], wanted.indices(size)
        return prototype.buffer.from_bytes(await self._range(first + start, first + stop))

    def _checked(self, directory: ZipMembers, key: str, member: bytes) -> bytes:
        """A member as it was fetched: not every place tells one version of the file from another."""
        begin = head_length(member) if len(member) >= LOCAL_HEAD.size else len(member)
        value = memoryview(member)[begin : begin + directory.spans[key][2]]
        if len(value) != directory.spans[key][2] or zlib.crc32(value) != directory.checksums[key]:
            raise self._replaced()
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
