"""A zip file that grows entry by entry, stored and not compressed, and is given its directory last.

Python's `zipfile` can neither take an entry back nor go on with a file that has no directory yet; both are needed where
a disk gets full, a file changes while it is read, or the program is killed. Every size is of 64 bits (zip64), so that a
file need not be known to be short before it is read. As APPNOTE.TXT of PKWARE has it, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ZipEntry", "append", "finish"]

LOCAL: Final = struct.Struct("<4s5H3L2H")
CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
LOCAL_SIZES: Final = struct.Struct("<2H2Q")
CENTRAL_SIZES: Final = struct.Struct("<2H3Q")
END64: Final = struct.Struct("<4sQ2H2L4Q")
LOCATOR64: Final = struct.Struct("<4sLQL")
END: Final = struct.Struct("<4s4H2LH")
NEEDED: Final = 45  # the version of the format that has zip64
UNIX: Final = 3 << 8 | NEEDED
UTF8: Final = 1 << 11
DAY: Final = 1 << 5 | 1  # 1980-01-01, the first that the format has: the manifest has the time
ELSEWHERE32: Final = 0xFFFFFFFF  # the value is among those of 64 bits
ELSEWHERE16: Final = 0xFFFF
MODE: Final = 0o100644 << 16  # a regular file, that its owner may write


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """Where an entry is, and what the directory has to say of it."""

    path: str
    offset: int
    size: int
    crc: int

    @property
    def begin(self) -> int:
        """Where its bytes begin."""
        return self.offset + LOCAL.size + len(self.path.encode()) + LOCAL_SIZES.size

    @property
    def end(self) -> int:
        """Where the next may begin."""
        return self.begin + self.size

    def header(self) -> bytes:
        """What stands before its bytes."""
        name = self.path.encode()
        sizes = LOCAL_SIZES.pack(1, LOCAL_SIZES.size - 4, self.size, self.size)
        fields = (NEEDED, UTF8, 0, 0, DAY, self.crc, ELSEWHERE32, ELSEWHERE32, len(name), len(sizes))
        return LOCAL.pack(b"PK\3\4", *fields) + name + sizes

    def listed(self) -> bytes:
        """What the directory has of it."""
        name = self.path.encode()
        sizes = CENTRAL_SIZES.pack(1, CENTRAL_SIZES.size - 4, self.size, self.size, self.offset)
        about = (UNIX, NEEDED, UTF8, 0, 0, DAY, self.crc, ELSEWHERE32, ELSEWHERE32, len(name), len(sizes))
        return CENTRAL.pack(b"PK\1\2", *about, 0, 0, 0, MODE, ELSEWHERE32) + name + sizes


def append(file: Any, offset: int, path: str, blocks: Iterable[bytes]) -> ZipEntry:
    """Write an entry at a place, after which nothing else is; on any error the file ends there again."""
    size = crc = 0
    try:
        file.seek(offset)
        file.write(ZipEntry(path, offset, 0, 0).header())
        for block in blocks:
            file.write(block)
            size += len(block)
            crc = zlib.crc32(block, crc)
        entry = ZipEntry(path, offset, size, crc)
        file.seek(offset)
        file.write(entry.header())
        file.seek(entry.end)
        file.flush()
    except BaseException:
        file.truncate(offset)
        raise
    return entry


def finish(file: Any, offset: int, entries: Iterable[ZipEntry]) -> None:
    """Write the directory of the entries, at a place after all of them."""
    file.seek(offset)
    number = 0
    for entry in entries:
        file.write(entry.listed())
        number += 1
    end = file.tell()
    about = (END64.size - 12, UNIX, NEEDED, 0, 0, number, number, end - offset, offset)
    file.write(END64.pack(b"PK\6\6", *about))
    file.write(LOCATOR64.pack(b"PK\6\7", 0, end, 1))
    small = min(number, ELSEWHERE16)
    file.write(END.pack(b"PK\5\6", 0, 0, small, small, min(end - offset, ELSEWHERE32), ELSEWHERE32, 0))
    file.flush()
    file.truncate()
