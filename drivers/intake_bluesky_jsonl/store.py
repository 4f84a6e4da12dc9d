"""Runs in JSONL files."""

from __future__ import annotations

from intake_bluesky.files import FileStore
from intake_bluesky_jsonl.codec import CODEC

__all__ = ["JSONLStore"]


class JSONLStore(FileStore):
    """Runs in ``.jsonl`` files, one a file, plain or compressed (``.gz``, ``.zst``); see `FileStore`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = JSONLStore(folder)
    ...     with store.insert({"uid": "abc", "time": 1.0}) as run:
    ...         run.write("stop", {"uid": "def", "time": 2.0, "run_start": "abc", "exit_status": "success"})
    ...     print([(run.uid, run.stop["exit_status"]) for run in store.find()])
    ...     store.close()
    [('abc', 'success')]
    """

    codec = CODEC
