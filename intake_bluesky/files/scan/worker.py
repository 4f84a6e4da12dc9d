"""Processes that look at files, where looking is parsing.

They are plain commands that speak over pipes, and not `multiprocessing`'s: its children import the ``__main__`` of
the program that starts them, and a script without ``if __name__ == "__main__"`` would run its experiment twice. Nor
is anything forked that has threads. See docs/decisions/0012.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any, Final

from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.source import LocalSource
from intake_bluesky.files.scan.inspect import Task, look
from intake_bluesky.index.index import IndexEntry

__all__ = ["Worker", "WorkerLost", "cores", "serve"]

LOG: Final = logging.getLogger(__name__)
# Isolated (-I): a json.py in the folder of the data is not the json meant here.
COMMAND: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from intake_bluesky.files.scan.worker import serve; serve()"
)
PATIENCE: Final = 5.0  # seconds for a worker to end by itself
ROOM: Final = 100_000  # objects between two collections of garbage: documents have no cycles


class WorkerLost(Exception):
    """The process has ended, or could not do what it is for."""


class Worker:
    """One process, for one thread at a time.

    Parameters
    ----------
    codec : Codec
        Of a class that can be imported.

    Raises
    ------
    WorkerLost
        Where no process can be started.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec: Codec | None = codec
        path = json.dumps([os.path.abspath(place) for place in sys.path if place])
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable or "", "-I", "-c", COMMAND, path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, ValueError) as error:
            raise WorkerLost(f"no process can be started: {error}") from error

    def look(self, tasks: Sequence[Task]) -> list[IndexEntry]:
        """Look at local files.

        Raises
        ------
        WorkerLost
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if self._codec is not None:
                codec, self._codec = self._codec, None
                _send(self._process.stdin, [type(codec).__module__, pickle.dumps(codec)])
            _send(self._process.stdin, list(tasks))
            found: list[IndexEntry] = pickle.load(self._process.stdout)
        except (OSError, EOFError, AttributeError, TypeError, pickle.PickleError) as error:
            raise WorkerLost(f"a process that looks at files has ended: {error}") from error
        return found

    def close(self) -> None:
        """End the process."""
        try:
            self._process.communicate(timeout=PATIENCE)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.communicate()


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve() -> None:
    """Be a worker: tasks come in by standard input, entries go out by standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked is interrupted, and closes the pipe
    gc.set_threshold(ROOM)
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not print into the answers
    module, pickled = pickle.load(source)
    codec = _unpickled(module, pickled)
    while True:
        try:
            tasks: list[Task] = pickle.load(source)
        except EOFError:
            return
        _send(target, [look(codec, LocalSource, task) for task in tasks])


def _send(target: IO[bytes], value: Any) -> None:
    pickle.dump(value, target, pickle.HIGHEST_PROTOCOL)
    target.flush()


def _unpickled(module: str, pickled: bytes) -> Codec:
    """The codec, and of its package no more than it needs: a driver's face imports xarray, which takes seconds."""
    package = module.partition(".")[0]
    if package != module and package not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is not None:
            sys.modules[package] = importlib.util.module_from_spec(spec)
            try:
                return _codec(pickled)
            except ImportError:  # it needs the face after all
                for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
                    del sys.modules[name]
    return _codec(pickled)


def _codec(pickled: bytes) -> Codec:
    codec: Codec = pickle.loads(pickled)
    return codec
