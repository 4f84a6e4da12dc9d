"""The tail of the index: what one writer adds to it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final
from uuid import uuid4

from intake_bluesky.files.bucket.segments import IDLE, SegmentFolder, is_removal
from intake_bluesky.files.index_segments import SegmentRow

__all__ = ["IndexTail"]

LOG: Final = logging.getLogger(__name__)
FULL: Final = 256
"""Runs of a tail that is sealed."""
LARGE: Final = 4 << 20
"""Bytes of rows after which it is, too."""
SOON: Final = 1.0
"""Seconds between two puts of runs that follow each other quickly."""


class IndexTail:
    """The rows of runs that this writer began and ended, put into the bucket: at once, or a second later with others.

    For all threads. A process that is killed loses rows of its last second, never runs: `intake-bluesky index` finds
    them.
    """

    def __init__(self, folder: SegmentFolder) -> None:
        self._folder = folder
        self._writer, self._number = uuid4().hex[:12], 0
        self._rows: dict[tuple[str, str], SegmentRow] = {}  # by name, and the stamp of what was removed
        self._waiting: set[tuple[str, str]] = set()
        self._began = -SOON  # when the last put did, so that the first is due at once
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()

    def add(self, row: SegmentRow) -> None:
        """Take a row, which counts for the same run from now on."""
        with self._lock:
            key = (row.name, row.stamp if is_removal(row) else "")
            self._rows[key] = row
            self._waiting.add(key)
            wait = self._began + SOON - time.monotonic()
            if wait <= 0 or self._is_full():
                self.put()
            elif self._timer is None:  # no daemon: a program that ends waits for it
                self._timer = threading.Timer(wait, self._put_on_time)
                self._timer.start()

    def _is_full(self) -> bool:
        return len(self._rows) >= FULL or self._size() > LARGE

    def _size(self) -> int:
        return sum(len(part) for row in self._rows.values() for part in row[2:] if part)

    def names(self) -> set[str]:
        """The names of the runs in it."""
        with self._lock:
            return {name for name, stamp in self._rows if not stamp}

    def put(self) -> None:
        """Put what waits.

        Raises
        ------
        OSError
            When the bucket cannot be written; what waits is put the next time.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not self._waiting:
                return
            now = time.monotonic()
            if self._began > 0 and now - self._began > IDLE / 6:
                # Others take a tail that was left so long for nobody's, and may be about to merge it.
                self._number += 1
                self._rows = {key: row for key, row in self._rows.items() if key in self._waiting}
            self._folder.put(self._name("t"), self._rows.values())
            self._began, self._waiting = now, set()
            if self._is_full():
                self._seal()

    def _name(self, kind: str) -> str:
        return f"{kind}-{self._writer}-{self._number:06d}"

    def _seal(self) -> None:
        self._folder.put(self._name("s"), self._rows.values())
        self._folder.delete([self._folder.name(self._name("t"))])
        self._number, self._rows = self._number + 1, {}
        self._folder.merge()

    def _put_on_time(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return
            self._timer = None
            try:
                self.put()
            except OSError as error:  # who writes or closes next tries again
                LOG.warning("the index of some runs waits: %s", error)
