"""Packs that are being made: a folder or a zip file, which takes one file after the other, and goes on after a kill.

A journal beside the files has what was written whole. After a kill it is read, and so are the files that it names: only
those that are still what it says count. A pack has a manifest when it is finished, and then no journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.transfer.manifest import CATALOG, MANIFEST, SUMS, Manifest, PackedFile
from intake_bluesky.transfer.pack_sources import BLOCK, digest_of, is_zip, open_pack
from intake_bluesky.transfer.zip_entries import ZipEntry, append, finish

__all__ = ["PackTarget", "target_for"]

JOURNAL: Final = ".packing.jsonl"
PART: Final = ".packing.part"


class PackTarget(ABC):
    """A pack that files are put into.

    Attributes
    ----------
    previous : Manifest or None
        Of the finished pack that is there already.
    files : dict of str to PackedFile
        What it has, whole.
    """

    journal: Path

    def __init__(self, previous: Manifest | None) -> None:
        self.previous = previous
        made = (CATALOG, MANIFEST, SUMS)
        self.files = {} if previous is None else {path: one for path, one in previous.files.items() if path not in made}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, path: str, blocks: Iterable[bytes], *, source: str = "", stamp: str = "") -> PackedFile:
        """Write a file, which is in the pack once it is kept; of one that could not be written whole nothing stays."""
        digest, size = hashlib.sha256(), 0

        def watched() -> Iterator[bytes]:
            nonlocal size
            for block in blocks:
                digest.update(block)
                size += len(block)
                yield block

        self._write(path, watched())
        return PackedFile(path, size, digest.hexdigest(), source, stamp)

    def keep(self, file: PackedFile) -> PackedFile:
        """Take the file that was put last for one of the pack."""
        more = self._keep(file.path)
        self.files[file.path] = file
        self._note(file, more)
        return file

    def _note(self, file: PackedFile, more: Mapping[str, Any]) -> None:
        with open(self.journal, "ab") as journal:
            journal.write(json.dumps({**asdict(file), **more}).encode() + b"\n")

    def _noted(self) -> Iterator[tuple[PackedFile, dict[str, Any]]]:
        """What the journal has; lines that were not written whole aside."""
        if not self.journal.exists():
            return
        with open(self.journal, "rb") as journal:
            for line in journal:
                try:
                    noted = json.loads(line)
                    file = PackedFile(**{name: noted.pop(name) for name in PackedFile.__slots__})
                except (ValueError, KeyError, AttributeError):
                    continue
                yield file, noted

    @abstractmethod
    def _write(self, path: str, blocks: Iterable[bytes]) -> None:
        """Write a file where it is not yet one of the pack."""

    @abstractmethod
    def _keep(self, path: str) -> Mapping[str, Any]:
        """Make what was written last a file of the pack, and give what the journal has to say of it besides."""

    @abstractmethod
    def finish(self, manifest: Manifest) -> None:
        """Write catalog, manifest and checksums: now it is a pack."""

    def _made(self, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
        """The files that follow from the manifest."""
        own = manifest.catalog()
        manifest.files[CATALOG] = _described(CATALOG, own)
        yield CATALOG, own
        text = manifest.encoded()
        yield MANIFEST, text
        yield SUMS, manifest.sums(_described(MANIFEST, text))

    @abstractmethod
    def close(self) -> None:
        """Give back what is open."""


def _described(path: str, content: bytes) -> PackedFile:
    return PackedFile(path, len(content), hashlib.sha256(content).hexdigest())


class PackFolder(PackTarget):
    """A pack in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.journal = folder, folder / JOURNAL
        there = folder.exists() and any(folder.iterdir())
        if there and not ((folder / MANIFEST).exists() or self.journal.exists() or (folder / PART).exists()):
            raise UnsupportedOperation(f"{folder} has files, and is no pack: name a new or empty folder")
        if (folder / MANIFEST).exists():
            with open_pack(folder) as pack:
                super().__init__(pack.manifest)
        else:
            super().__init__(None)
        self.files = {path: file for path, file in self.files.items() if self._is_there(file)}
        for file, _ in self._noted():
            if self._is_there(file) and digest_of(_blocks(folder / file.path)) == file.sha256:
                self.files[file.path] = file
        folder.mkdir(parents=True, exist_ok=True)

    def _is_there(self, file: PackedFile) -> bool:
        try:
            return os.lstat(self._folder / file.path).st_size == file.size
        except OSError:
            return False

    def _write(self, path: str, blocks: Iterable[bytes]) -> None:
        try:
            with open(self._folder / PART, "wb", buffering=0) as file:
                for block in blocks:
                    _write_all(file, block)
        except BaseException:
            with suppress(OSError):
                (self._folder / PART).unlink()
            raise

    def _keep(self, path: str) -> Mapping[str, Any]:
        place = self._folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._folder / PART, place)
        return {}

    def finish(self, manifest: Manifest) -> None:
        whole = all((self._folder / name).exists() for name in (CATALOG, MANIFEST, SUMS))
        if self.previous is not None and self.previous.runs == manifest.runs and whole and not self.journal.exists():
            return
        for path in self.files.keys() - manifest.files.keys():  # of runs that were refused later, or packed differently
            (self._folder / path).unlink(missing_ok=True)
        for path, content in self._made(manifest):
            self._write(path, [content])
            self._keep(path)
        for left in (self.journal, self._folder / PART):
            left.unlink(missing_ok=True)

    def close(self) -> None:
        pass


class ZipTarget(PackTarget):
    """A pack in a zip file, which has its name when it is finished."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self.journal = path.with_name(f"{path.name}.part.jsonl")
        self._file: BinaryIO | None = None
        self._entries: dict[str, ZipEntry] = {}
        self._end = 0
        if path.exists():
            with open_pack(path) as pack:
                super().__init__(pack.manifest)
        else:
            super().__init__(None)
        if self._part.exists():
            self._go_on()

    def _go_on(self) -> None:
        """Take what a program that was killed has left; what is not as it was noted, and all after it, is cut off."""
        self._file = open(self._part, "r+b", buffering=0)  # noqa: SIM115  # it stays open
        self.files = {}
        lines = []
        for file, more in self._noted():
            entry = ZipEntry(file.path, more["offset"], file.size, more["crc"])
            if entry.offset < self._end or not _is_as_noted(self._file, entry, file):
                break
            self.files[file.path], self._entries[file.path], self._end = file, entry, entry.end
            lines.append((file, more))
        kept = set() if self.previous is None else set(self.previous.files) - {CATALOG, MANIFEST, SUMS}
        if not kept <= self.files.keys():  # it was killed before it had begun with what the finished pack has
            self._begin_again()
            return
        self.journal.unlink(missing_ok=True)
        for line in lines:
            self._note(*line)

    def _begin_again(self) -> None:
        self.close()
        self._part.unlink()
        self.journal.unlink(missing_ok=True)
        self._entries, self._end = {}, 0
        super().__init__(self.previous)

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            if self.previous is not None:
                self._copy()
            self.journal.unlink(missing_ok=True)
            self._file = open(self._part, "r+b" if self.previous else "w+b", buffering=0)  # noqa: SIM115
            for path, entry in self._entries.items():
                self._note(self.files[path], {"offset": entry.offset, "crc": entry.crc})
        return self._file

    def _copy(self) -> None:
        """Begin with all that the finished pack has."""
        shutil.copyfile(self._path, self._part)
        with zipfile.ZipFile(self._path) as old, open(self._path, "rb") as raw:
            ours = [info for info in old.infolist() if info.filename in self.files]
            for info in sorted(ours, key=lambda info: info.header_offset):
                entry = ZipEntry(info.filename, info.header_offset, info.file_size, info.CRC)
                raw.seek(entry.offset)
                if raw.read(len(entry.header())) != entry.header():
                    raise UnsupportedOperation(f"{self._path} was written by another program: unpack it, and pack anew")
                self._entries[info.filename], self._end = entry, entry.end

    def _write(self, path: str, blocks: Iterable[bytes]) -> None:
        self._last = append(_Whole(self._open()), self._end, path, blocks)

    def _keep(self, path: str) -> Mapping[str, Any]:
        entry = self._entries[path] = self._last
        self._end = entry.end
        return {"offset": entry.offset, "crc": entry.crc}

    def finish(self, manifest: Manifest) -> None:
        if self._file is None and self.previous is not None and self.previous.runs == manifest.runs:
            return
        file = _Whole(self._open())
        for path in self._entries.keys() - manifest.files.keys():
            self._entries.pop(path)
        for path, content in self._made(manifest):
            self._write(path, [content])
            self._keep(path)
        finish(file, self._end, self._entries.values())
        os.fsync(file.fileno())
        self.close()
        os.replace(self._part, self._path)
        self.journal.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Whole:
    """An unbuffered file whose writes are whole: what an operating system takes a part of is given again."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        _write_all(self._file, data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _write_all(file: Any, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block


def _is_as_noted(zipped: BinaryIO, entry: ZipEntry, file: PackedFile) -> bool:
    """Whether an entry is whole, and what stands before it."""
    zipped.seek(entry.offset)
    header = entry.header()
    return zipped.read(len(header)) == header and digest_of(_range(zipped, entry)) == file.sha256


def _range(file: BinaryIO, entry: ZipEntry) -> Iterator[bytes]:
    file.seek(entry.begin)
    left = entry.size
    while left and (block := file.read(min(left, BLOCK))):
        left -= len(block)
        yield block


def target_for(path: Path) -> PackTarget:
    """The pack that is to be made: a zip file where its name says so, else a folder."""
    return ZipTarget(path) if is_zip(path) else PackFolder(path)
