"""Small things compressed: what an index keeps of each run.

zstd's fastest, by an engine that is used again and again: zlib takes longer to make ready than such things to compress.
"""

from __future__ import annotations

import threading
from typing import Final

import zstandard

__all__ = ["squeezed", "unsqueezed"]

LEVEL: Final = -1


class _Engines(threading.local):
    """Those of one thread: they are for one at a time."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_engines: Final = _Engines()


def squeezed(data: bytes) -> bytes:
    """Compress."""
    return _engines.compress(data)


def unsqueezed(data: bytes, most: int) -> bytes:
    """Decompress what `squeezed` or somebody else made, unless it comes to more than `most` bytes.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> unsqueezed(squeezed(b"what an index keeps"), 100)
    b'what an index keeps'
    """
    try:
        size = zstandard.get_frame_parameters(data).content_size
        # Before it is unpacked: a few bytes may hold gigabytes. A size that the frame does not give counts as the
        # largest.
        if size > most:
            raise ValueError(f"it says that it holds {size} bytes, more than it can be")
        return _engines.decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"not compressed: {error}") from error
