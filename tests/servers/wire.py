"""A connection of a stated rate to a server of this machine: what a network would take of the time is seen on it.

``python -m tests.servers.wire PORT RATE`` passes on to a local port, with so many megabytes per second of answers in
all, and prints the port to connect to.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

BLOCK: Final = 1 << 18
PAUSE: Final = 0.002  # seconds that are worth sleeping


class Wire:
    """What all connections share."""

    def __init__(self, port: int, rate: float) -> None:
        self._port, self._rate, self._free = port, rate * 1e6, 0.0

    async def serve(self) -> None:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0, limit=BLOCK)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asked = await asyncio.open_connection("127.0.0.1", self._port, limit=BLOCK)
        await asyncio.gather(
            self._pass(reader, asked, slowly=False), self._pass(answers, writer, slowly=True), return_exceptions=True
        )

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, slowly: bool) -> None:
        try:
            while data := await source.read(BLOCK):
                if slowly:
                    now = time.monotonic()
                    self._free = max(self._free, now) + len(data) / self._rate
                    if self._free - now > PAUSE:
                        await asyncio.sleep(self._free - now)
                target.write(data)
                await target.drain()
        finally:
            target.close()


@contextmanager
def wired(endpoint: str, rate: float) -> Iterator[str]:
    """Give the endpoint by which a server is reached at so many megabytes per second, in a process of its own."""
    command = [sys.executable, "-m", "tests.servers.wire", str(urlsplit(endpoint).port), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(Wire(int(sys.argv[1]), float(sys.argv[2])).serve())
