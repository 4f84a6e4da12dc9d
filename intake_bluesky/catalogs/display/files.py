"""Whether the files of a run are there, for its view: a quick look that cannot hang.

`BlueskyRun.files` lists every file, asks remote servers, and may list folders of a million images. A repr may do none
of that: it looks only for what local resources name, for few places, and gives up when the disk does not answer. It
opens no file and calls no handler.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Final

from intake_bluesky.assets.location import Location, locate
from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.documents.model import RunHeader
from intake_bluesky.runtime.secrets import shown

__all__ = ["FilesSeen", "seen_files"]

PLACE: Final = ("uri", "root", "resource_path")
"""What of a resource says where it is."""
MOST: Final = 20
"""Places that are looked for."""
PATIENCE: Final = 0.5
"""Seconds; a network mount whose server is away answers never."""


@dataclass(frozen=True, slots=True)
class FilesSeen:
    """What a quick look at the files of a run found.

    Attributes
    ----------
    total : int
        Places that resources name.
    found : int
    missing : tuple of str
        Paths.
    remote : int
        At places that are asked only on reading.
    refused : tuple of str
        Why files are not to be looked for: of documents from elsewhere, or without a sound path.
    slow : bool
        Whether the disk did not answer.
    """

    total: int
    found: int = 0
    missing: tuple[str, ...] = ()
    remote: int = 0
    refused: tuple[str, ...] = ()
    slow: bool = False

    @property
    def note(self) -> str:
        """What was found, in words; "" where the run has no files."""
        if not self.total:
            return ""
        parts = [f"{self.found} found"] if self.found else []
        parts += [f"{len(self.missing)} missing"] if self.missing else []
        parts += [f"{self.remote} remote"] if self.remote else []
        parts += [f"{len(self.refused)} refused"] if self.refused else []
        rest = self.total - self.found - len(self.missing) - self.remote - len(self.refused)
        parts += [f"{rest} not looked for{': the disk does not answer' if self.slow else ''}"] if rest else []
        return ", ".join(parts)


def seen_files(header: RunHeader, options: AssetOptions) -> FilesSeen:
    """Look for the files of a run.

    A sequence of images counts as found where any file of it is there.
    """
    # Each place once: several keys of a detector are in one file, of which each has a resource.
    named = (*header.resources, *(asset.resource for asset in header.stream_assets))
    places = {repr([one.get(part) for part in PLACE]): one for one in named if {"uri", "resource_path"} & one.keys()}
    resources = list(places.values())
    outcomes: list[tuple[str, str]] = []

    def look() -> None:
        for resource in resources[:MOST]:
            try:
                outcomes.append(_looked_for(locate(resource, options)))
            except Exception as error:  # noqa: BLE001  # untrusted or odd, in whatever way
                outcomes.append(("refused", shown(str(error))))

    if resources:
        # A thread, since nothing interrupts a system call on a mount that is gone.
        looking = threading.Thread(target=look, daemon=True, name="intake-bluesky-files-of-a-repr")
        looking.start()
        looking.join(PATIENCE)
    now = list(outcomes)
    return FilesSeen(
        len(resources),
        found=sum(what == "found" for what, _ in now),
        missing=tuple(path for what, path in now if what == "missing"),
        remote=sum(what == "remote" for what, _ in now),
        refused=tuple(why for what, why in now if what == "refused"),
        slow=len(now) < min(len(resources), MOST),
    )


def _looked_for(location: Location) -> tuple[str, str]:
    if not location.is_local:
        return "remote", ""
    location.check()
    # Of sequences, documents name the beginning of the files' names.
    there = os.path.exists(location.path) or location.beginning_with(location.path)
    return ("found", "") if there else ("missing", shown(location.path))
