"""The locations of one store, as one: listed together, and each file found in the location that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from intake_bluesky.files.content.file_location import FileLocation, LocalLocation, RemoteLocation, shown
from intake_bluesky.files.content.listing import FileListing
from intake_bluesky.files.content.source import ByteSource
from intake_bluesky.storage.contract import Problem

__all__ = ["FileLocations"]


class FileLocations(tuple[FileLocation, ...]):
    """Several locations. A file is that of the first location which holds it."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(shown(location.pattern) for location in self)

    @property
    def local(self) -> bool:
        """Whether all are on this machine."""
        return all(isinstance(location, LocalLocation) for location in self)

    def holding(self, path: str) -> FileLocation:
        """The location of a file.

        Raises
        ------
        FileNotFoundError
        """
        for location in self:
            if location.holds(path):
                return location
        raise FileNotFoundError(f"none of the paths of this catalog holds {shown(path)}")

    def open(self, path: str, stamp: str = "") -> ByteSource | None:
        """Open a file; with a stamp, as it was listed, or None where there is no such way."""
        location = self.holding(path)
        return location.open_listed(path, stamp) if stamp else location.open(path)

    def listing(self) -> tuple[list[FileListing], list[Problem], list[Exception]]:
        """What each location lists, what is wrong with which, and the errors of those that could not be listed."""
        listed: list[FileListing] = []
        troubles: list[Problem] = []
        failures: list[Exception] = []
        for location in self:
            try:
                listed.append(location.listing())
            except FileNotFoundError:
                missing = "there is no such file or folder (yet)"
                troubles.append(Problem(shown(location.pattern), missing, to_come=True))
            except Exception as error:  # noqa: BLE001  # each filesystem has errors of its own
                why = f"cannot be listed: {type(error).__name__}: {error}"
                troubles.append(Problem(shown(location.pattern), shown(why)))
                failures.append(error)
        return listed, troubles, failures

    def ends(self, paths: Sequence[str], stamps: Mapping[str, str], size: int) -> dict[str, tuple[bytes, bytes]]:
        """Both ends of files on other machines, asked for together."""
        found: dict[str, tuple[bytes, bytes]] = {}
        for location in self:
            if isinstance(location, RemoteLocation) and (mine := [path for path in paths if location.holds(path)]):
                found |= location.ends(mine, stamps, size)
        return found

    def stale(self, known: Iterable[tuple[str, str]]) -> list[str]:
        """Those of some files on this machine that are not what they were."""
        # Only of this machine: elsewhere each look is a request, and the next listing shows what changed.
        located = ((path, stamp, self.holding(path)) for path, stamp in known)
        return [
            path
            for path, stamp, location in located
            if isinstance(location, LocalLocation) and location.stamp(path) != stamp
        ]

    def is_gone(self, path: str) -> bool:
        """Whether a file on this machine is there no more."""
        location = self.holding(path)
        return isinstance(location, LocalLocation) and location.is_gone(path)
