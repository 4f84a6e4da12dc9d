"""Small things compressed: what an index keeps of each run."""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["deflated", "inflated"]

SHORT: Final = 1 << 12  # bytes that fit into a window of 12 bits


def deflated(data: bytes) -> bytes:
    """Compress; what is short with little memory, which takes longer to make ready than to use."""
    window, memory = (12, 5) if len(data) <= SHORT else (zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL)
    engine = zlib.compressobj(1, zlib.DEFLATED, window, memory)
    return engine.compress(data) + engine.flush()


def inflated(data: bytes, most: int) -> bytes:
    """Take apart what `deflated` or somebody else made, unless it is more than `most` bytes.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> inflated(deflated(b"what an index keeps"), 100)
    b'what an index keeps'
    """
    engine = zlib.decompressobj()
    try:
        whole = engine.decompress(data, most)
    except zlib.error as error:
        raise ValueError(f"not compressed: {error}") from error
    if not engine.eof:
        raise ValueError("it is cut off, or larger than it can be")
    return whole
