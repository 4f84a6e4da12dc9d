"""Findings of validation, and the meaning of each code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from intake_bluesky.errors import printable

__all__ = ["CODES", "Finding", "Level", "Tally", "finding"]

Level: TypeAlias = Literal["error", "warning"]

CODES: Final[dict[str, tuple[Level, str]]] = {
    "unreadable": ("error", "A file, a run or a document cannot be read, or a part of a file is passed over."),
    "unknown-descriptor": (
        "error",
        "An event or stream datum belongs to a descriptor that the run does not have.",
    ),
    "unknown-resource": (
        "error",
        "A datum or stream datum belongs to a resource that neither the run has nor the store finds.",
    ),
    "unknown-datum": ("error", "An event names a datum that neither the run has nor the store finds by its id."),
    "no-resource": ("error", "A streamed key has no stream resource, though its stream has rows."),
    "no-data-key": ("error", "A stream resource does not say which data key its frames are of."),
    "contradiction": (
        "error",
        "Descriptors, (stream) resources or datums of one uid differ: nobody can tell which is meant.",
    ),
    "other-run": (
        "error",
        "A descriptor or stop names another run than the one that it is stored with, and is read with.",
    ),
    "num-events": (
        "error",
        "The stop counts other events than are stored (repeats after a rewind count once).",
    ),
    "unknown-format": ("error", "Nothing installed reads the mimetype or spec of a resource."),
    "file-missing": ("error", "A file that the documents name is not there."),
    "file-unreadable": (
        "error",
        "A file cannot or may not be read, or the documents say too little of how to read it, or what makes no sense.",
    ),
    "file-short": ("error", "A file has fewer frames than the documents refer to, or ends within one."),
    "file-long": ("warning", "A file has more frames than the documents refer to."),
    "file-mismatch": (
        "warning",
        "A file holds another dtype or shape than its data key declares, or than other files of its sequence.",
    ),
    "frames-per-event": (
        "warning",
        "A resource gives 0 frames per event: how many an event has is taken from the data key or the file.",
    ),
    "file-odd": ("warning", "A text file has a last row without its end, or rows with too many fields."),
    "no-stop": ("warning", "The run has no stop: it is going on, or was cut off."),
    "schema": ("warning", "A document does not conform to event-model's schema."),
    "seq-num-gap": ("warning", "Some seq_nums between 1 and the last were never recorded."),
    "seq-num-repeated": (
        "warning",
        "Several descriptors of a stream have one seq_num, and it is unclear whether its events were taken again.",
    ),
    "frames-repeated": (
        "warning",
        "Several stream resources, or one under several descriptors, have frames of a key for one seq_num.",
    ),
    "changed-key": (
        "warning",
        "Descriptors of one stream give a key, of data or of configuration, different units or choices.",
    ),
    "incomplete": (
        "warning",
        "The parts of a stream disagree: rows lack their event, or the frames of a key.",
    ),
    "unused-descriptor": ("warning", "A descriptor has neither events nor stream datums."),
    "unused-resource": ("warning", "A resource has no datums."),
    "unexpected-key": (
        "warning",
        "Events or a stream resource have a key that their descriptor does not declare.",
    ),
    "missing-key": ("warning", "Events lack a key that their descriptor declares."),
    "dtype": ("warning", "A value in an event is not of the dtype that its data key declares."),
    "shape": ("warning", "A value in an event is not of the shape that its data key declares."),
}
"""Code to level and meaning."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something damaged, missing or odd.

    Attributes
    ----------
    where : str
        A file, or ``uid``, ``uid/stream``, ``uid/stream/key``.
    level : {"error", "warning"}
        Whether data is lost or unreadable, or only not as it should be.
    code : str
        One of `CODES`.
    message : str

    Examples
    --------
    >>> print(finding("9acjef12", "no-stop", "the run has no stop document"))
    warning  no-stop  9acjef12: the run has no stop document
    """

    where: str
    level: Level
    code: str
    message: str

    def __str__(self) -> str:
        return printable(f"{self.level}  {self.code}  {self.where}: {self.message}")


def finding(where: str, code: str, message: str) -> Finding:
    """Make a finding of a code's level."""
    return Finding(where, CODES[code][0], code, message)


class Tally:
    """Collects findings that repeat, and yields one for each place and code.

    Examples
    --------
    >>> tally = Tally()
    >>> for seq_num in (3, 4):
    ...     tally.add("9acjef12/primary/x", "dtype", f"event {seq_num} holds text")
    >>> [found.message for found in tally]
    ['event 3 holds text (and 1 more)']
    """

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], str] = {}
        self._count: dict[tuple[str, str], int] = {}

    def add(self, where: str, code: str, message: str, *, times: int = 1) -> None:
        """Count one more, or `times` more; the message is the first one."""
        place = (where, code)
        self._first.setdefault(place, message)
        self._count[place] = self._count.get(place, 0) + times

    def __iter__(self) -> Iterator[Finding]:
        for (where, code), message in self._first.items():
            more = self._count[where, code] - 1
            yield finding(where, code, f"{message} (and {more} more)" if more else message)
