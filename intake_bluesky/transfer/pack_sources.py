"""Packs that are read: folders and zip files from elsewhere, of which nothing is believed but what is checked."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Self

from intake_bluesky.errors import DamagedPack, StoreUnavailable, UntrustedName
from intake_bluesky.transfer.manifest import MANIFEST, SUMS, Manifest, PackedFile, check_path

__all__ = ["BLOCK", "PackSource", "digest_of", "is_zip", "open_pack"]

BLOCK: Final = 1 << 22  # bytes read at once
LARGEST: Final = 1 << 30  # bytes of a manifest
STORED_WITH: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED: Final = 1
BROKEN: Final = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile)


class PackSource(ABC):
    """A pack: its manifest, and its files.

    Attributes
    ----------
    place : Path
    manifest : Manifest
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        if MANIFEST not in self.sizes():
            raise DamagedPack(
                f"{place} has no {MANIFEST}: it is no pack of intake-bluesky, or was not packed to its end"
            )
        self.manifest_text = self.short(MANIFEST)
        self.manifest = Manifest.decoded(self.manifest_text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """All files that are there, with their sizes.

        Raises
        ------
        UntrustedName
            When one is a link, or a device, or its name leads out of the pack.
        """

    @abstractmethod
    def open(self, path: str) -> IO[bytes]:
        """Open one of the files."""

    def short(self, path: str) -> bytes:
        """All of a file that cannot be long."""
        with self.open(path) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise DamagedPack(f"{path} of {self.place} has more than {LARGEST:,} bytes: it is not read")
        return content

    def blocks(self, file: PackedFile) -> Iterator[bytes]:
        """The bytes of a file, no more than the manifest says it has.

        Raises
        ------
        DamagedPack
            At the end at the latest, when they are not those that were packed.
        """
        digest, left = hashlib.sha256(), file.size
        try:
            with self.open(file.path) as opened:
                while block := opened.read(min(BLOCK, left + 1)):
                    left -= len(block)
                    if left < 0:
                        raise DamagedPack(f"it has more than the {file.size:,} bytes that the manifest says")
                    digest.update(block)
                    yield block
        except BROKEN as error:
            if isinstance(error, DamagedPack):
                raise
            raise DamagedPack(f"it cannot be read: {error}") from error
        if left:
            raise DamagedPack(f"it has {file.size - left:,} bytes, and the manifest says {file.size:,}")
        if digest.hexdigest() != file.sha256:
            raise DamagedPack("it is damaged: its SHA-256 is another than the manifest says")

    def problems(self, *, read: bool = True) -> Iterator[tuple[str, str]]:
        """Yield each file that is damaged, missing or unknown, and what is wrong; `read`: look into all of them."""
        there = self.sizes()
        for path, file in self.manifest.files.items():
            if path not in there:
                yield path, "it is missing"
            elif there[path] != file.size:
                yield path, f"it has {there[path]:,} bytes, and the manifest says {file.size:,}"
            elif read:
                try:
                    for _ in self.blocks(file):
                        pass
                except DamagedPack as error:
                    yield path, str(error)
        yield from self._follows(there)
        for path in sorted(there.keys() - self.manifest.files.keys() - {MANIFEST, SUMS}):
            yield path, "it is unknown: the manifest does not have it"

    def _follows(self, there: dict[str, int]) -> Iterator[tuple[str, str]]:
        """What should follow from the manifest, and does not."""
        digest = hashlib.sha256(self.manifest_text).hexdigest()
        if SUMS not in there:
            yield SUMS, "it is missing"
        elif self.short(SUMS) != self.manifest.sums(PackedFile(MANIFEST, len(self.manifest_text), digest)):
            yield SUMS, f"it is damaged, or {MANIFEST} is: they have not the same checksums"
        own = hashlib.sha256(self.manifest.catalog()).hexdigest()
        listed = self.manifest.files.get("catalog.yml")
        if listed is None or listed.sha256 != own:
            yield "catalog.yml", "it is not the one that follows from the manifest: do not open it"

    @abstractmethod
    def close(self) -> None:
        """Give back what is open."""


class FolderSource(PackSource):
    """A pack in a folder."""

    def sizes(self) -> dict[str, int]:
        found = {}
        for folder, folders, names in os.walk(self.place, onerror=_unreadable):
            for name in (*folders, *names):
                place = os.path.join(folder, name)
                about = os.lstat(place)
                if stat.S_ISLNK(about.st_mode) or not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
                    raise UntrustedName(f"{place} is a link or a device, which no pack has: it is refused")
                if stat.S_ISREG(about.st_mode):
                    found[Path(place).relative_to(self.place).as_posix()] = about.st_size
        return found

    def open(self, path: str) -> IO[bytes]:
        # Not through a link that somebody put there since the folder was listed.
        return os.fdopen(os.open(self.place / path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb", buffering=0)

    def close(self) -> None:
        pass


class ZipSource(PackSource):
    """A pack in a zip file."""

    def __init__(self, place: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(place)
        except BROKEN as error:
            raise DamagedPack(f"{place} cannot be read as a zip file: {error}") from error
        try:
            self._entries = self._checked()
            super().__init__(place)
        except BaseException:
            self._zip.close()
            raise

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        found: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                continue
            check_path(info.filename)
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise UntrustedName(f"{info.filename!r} of the zip file is a link or a device: it is refused")
            if info.filename in found:
                raise DamagedPack(f"the zip file has {info.filename!r} twice: it is refused")
            if info.flag_bits & ENCRYPTED or info.compress_type not in STORED_WITH:
                raise DamagedPack(
                    f"{info.filename!r} of the zip file is encrypted, or packed in a way that is not read"
                )
            found[info.filename] = info
        return found

    def sizes(self) -> dict[str, int]:
        return {name: info.file_size for name, info in self._entries.items()}

    def open(self, path: str) -> IO[bytes]:
        try:
            return self._zip.open(self._entries[path])
        except BROKEN as error:
            raise DamagedPack(f"{path} of {self.place} cannot be read: {error}") from error

    def close(self) -> None:
        self._zip.close()


def _unreadable(error: OSError) -> Any:
    raise StoreUnavailable(f"the pack cannot be read: {error}") from error


def is_zip(path: Path) -> bool:
    """Whether a pack is a zip file, by its name."""
    return path.suffix.lower() == ".zip"


def open_pack(path: str | os.PathLike[str]) -> PackSource:
    """Open a pack that is a folder or a zip file.

    Raises
    ------
    DamagedPack, UntrustedName, StoreUnavailable
    """
    place = Path(path).expanduser().absolute()
    if not place.exists():
        raise StoreUnavailable(f"there is no pack {place}")
    return FolderSource(place) if place.is_dir() else ZipSource(place)


def digest_of(blocks: Iterable[bytes]) -> str:
    """SHA-256, as text."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
