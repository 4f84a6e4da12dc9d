"""A server of this machine at an address that is not this machine's own name, as if it were on another."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

LOOPBACK: Final = "127.0.0.2"  # reaches this machine, and is none of the addresses by which a database is taken as here


def own_address() -> str:
    """The address of this machine in its network; where it is in none, one of the loopback device."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # which sends nothing, and chooses the device
        return str(probe.getsockname()[0])
    return LOOPBACK


@contextmanager
def another_host(server: tuple[str, int] | str) -> Iterator[str]:
    """Pass connections on to a port or a socket of this machine; gives host and port to connect to."""
    host = own_address()
    with socket.create_server((host, 0)) as listener:
        threading.Thread(target=_serve, args=(listener, server), daemon=True).start()
        yield f"{host}:{listener.getsockname()[1]}"


def _serve(listener: socket.socket, server: tuple[str, int] | str) -> None:
    with suppress(OSError):  # it was closed
        while True:
            near, _ = listener.accept()
            far = socket.socket(socket.AF_UNIX if isinstance(server, str) else socket.AF_INET)
            far.connect(server)
            threading.Thread(target=_relay, args=(near, far), daemon=True).start()


def _relay(near: socket.socket, far: socket.socket) -> None:
    with near, far:
        back = threading.Thread(target=_pass_on, args=(far, near), daemon=True)
        back.start()
        _pass_on(near, far)
        back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
