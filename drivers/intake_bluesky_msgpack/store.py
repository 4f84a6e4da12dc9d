"""Runs in MessagePack files."""

from __future__ import annotations

from intake_bluesky.files import FileStore
from intake_bluesky_msgpack.codec import CODEC

__all__ = ["MsgpackStore"]


class MsgpackStore(FileStore):
    """Runs in ``.msgpack`` files, one a file, plain or compressed (``.gz``, ``.zst``); see `FileStore`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = MsgpackStore(folder)
    ...     with store.insert({"uid": "abc", "time": 1.0}) as run:
    ...         run.write("stop", {"uid": "def", "time": 2.0, "run_start": "abc", "exit_status": "success"})
    ...     print([(run.uid, run.stop["exit_status"]) for run in store.find()])
    ...     store.close()
    [('abc', 'success')]
    """

    codec = CODEC
