"""The places of one store, as one: listed together, and each file found in the place that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import overload

from intake_bluesky.files.content.listing import Listed
from intake_bluesky.files.content.locations import LocalPlace, Place, RemotePlace, shown
from intake_bluesky.files.content.source import Source
from intake_bluesky.storage.contract import Problem

__all__ = ["Places"]


class Places(Sequence[Place]):
    """Several places. A file is that of the first place which holds it."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = tuple(places)

    @overload
    def __getitem__(self, number: int) -> Place: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Place]: ...

    def __getitem__(self, number: int | slice) -> Place | Sequence[Place]:
        return self._places[number]

    def __len__(self) -> int:
        return len(self._places)

    def __str__(self) -> str:
        return ", ".join(shown(place.pattern) for place in self)

    @property
    def local(self) -> bool:
        """Whether all are on this machine."""
        return all(isinstance(place, LocalPlace) for place in self)

    def holding(self, path: str) -> Place:
        """The place of a file.

        Raises
        ------
        FileNotFoundError
        """
        for place in self:
            if place.holds(path):
                return place
        raise FileNotFoundError(f"none of the paths of this catalog holds {shown(path)}")

    def open(self, path: str) -> Source:
        """Open a file."""
        return self.holding(path).open(path)

    def listing(self) -> tuple[list[Listed], list[Problem], list[Exception]]:
        """What each place lists, what is wrong with which, and the errors of those that could not be listed."""
        listed: list[Listed] = []
        troubles: list[Problem] = []
        failures: list[Exception] = []
        for place in self:
            try:
                listed.append(place.listing())
            except FileNotFoundError:
                troubles.append(Problem(shown(place.pattern), "there is no such file or folder (yet)"))
            except Exception as error:  # noqa: BLE001  # each filesystem has errors of its own
                why = f"cannot be listed: {type(error).__name__}: {error}"
                troubles.append(Problem(shown(place.pattern), shown(why)))
                failures.append(error)
        return listed, troubles, failures

    def ends(self, paths: Sequence[str], stamps: Mapping[str, str], size: int) -> dict[str, tuple[bytes, bytes]]:
        """Both ends of files on other machines, asked for together."""
        found: dict[str, tuple[bytes, bytes]] = {}
        for place in self:
            mine = [path for path in paths if place.holds(path)] if isinstance(place, RemotePlace) else []
            if mine:
                found |= place.ends(mine, stamps, size)
        return found

    def stale(self, known: Iterable[tuple[str, str]]) -> list[str]:
        """Those of some files on this machine that are not what they were."""
        places = ((path, stamp, self.holding(path)) for path, stamp in known)
        return [path for path, stamp, place in places if isinstance(place, LocalPlace) and place.stamp(path) != stamp]

    def is_gone(self, path: str) -> bool:
        """Whether a file on this machine is there no more."""
        place = self.holding(path)
        return isinstance(place, LocalPlace) and place.is_gone(path)
