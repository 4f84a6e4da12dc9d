"""Where the members of a zip file begin and end, told by its last bytes."""

from __future__ import annotations

import io
import struct
from itertools import pairwise
from typing import Final
from zipfile import ZIP_STORED, BadZipFile, ZipFile

__all__ = ["LOCAL_HEAD", "ZipMembers", "head_length"]

LOCAL_HEAD: Final = struct.Struct("<26x2H")
"""What is before each member: 26 bytes, then the lengths of its name and of what comes after the name."""
END: Final = struct.Struct("<4s4H2LH")
"""What a zip file ends with: signature, 4 counts, size and position of its directory, length of a comment."""


class ZipMembers:
    """The members of a zip file.

    Parameters
    ----------
    tail : bytes
        The end of the file, with all of its directory.

    Attributes
    ----------
    spans : dict of name to (int, int, int)
        Where the head of a member begins, and where the next one does; the size of the member.
    checksums : dict of name to int
        CRC-32 of members.

    Raises
    ------
    ValueError
        When it is no zip file, or its members are compressed.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> with ZipFile(file, "w") as members:
    ...     members.writestr("a", b"first")
    >>> ZipMembers(file.getvalue()).spans
    {'a': (0, 36, 5)}
    """

    def __init__(self, tail: bytes) -> None:
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) < at + END.size:
            raise ValueError("it does not end as a zip file does")
        _, _, _, _, _, size, position, _ = END.unpack_from(tail, at)
        self._first = position + size - at  # where in the file the tail begins
        self._tail = tail
        if self._first < 0 or at < size:
            raise ValueError(f"its directory is {size:,} bytes, of which {at:,} were read")
        try:
            # The members are before what is given here: their positions then count from its first byte.
            with ZipFile(io.BytesIO(tail[at - size :])) as directory:
                members = directory.infolist()
        except BadZipFile as error:
            raise ValueError(str(error)) from error
        if packed := [one.filename for one in members if one.compress_type != ZIP_STORED]:
            raise ValueError(f"it has compressed members, such as {packed[0]}: Zarr compresses by itself")
        members.sort(key=lambda one: one.header_offset)
        # zipfile counts from the directory on, which it takes for the whole file.
        heads = [*(one.header_offset + position for one in members), position]
        self.spans = {
            one.filename: (begin, end, one.file_size)
            for one, (begin, end) in zip(members, pairwise(heads), strict=True)
        }
        self.checksums = {one.filename: one.CRC for one in members}

    def held(self, name: str) -> bytes | None:
        """A member with its head, if the tail has all of it."""
        begin, end, _ = self.spans[name]
        return self._tail[begin - self._first : end - self._first] if begin >= self._first else None


def head_length(head: bytes) -> int:
    """How long the head of a member is, by its first bytes."""
    name, extra = LOCAL_HEAD.unpack_from(head)
    return int(LOCAL_HEAD.size + name + extra)
