"""What copying did: runs copied, there already, going on, refused and why; files, and where they are now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from intake_bluesky.catalogs.display.page import code, escaped, fold, grid, page
from intake_bluesky.errors import CopyFailed, printable

__all__ = ["CopiedFile", "CopyReport", "EmbeddedArray"]

SHOWN: Final = 20  # refused runs, and missing files, that are shown
ANY_ORDER: Final = "compared event by event, in any order: one of the stores does not keep the order of documents"
UNITS: Final = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file that a run names, and its copy.

    Attributes
    ----------
    path, copy : str
    size : int
        In bytes.
    sha256 : str
        Of what was read and written; the copy was read again, and is the same.
    new : bool
        False where the copy was there already.
    """

    path: str
    copy: str
    size: int
    sha256: str
    new: bool


@dataclass(frozen=True, slots=True)
class EmbeddedArray:
    """An array of files, and that it is in the target.

    Attributes
    ----------
    uid, stream, key : str
    size : int
        In bytes.
    sha256 : str
        Of shape and dtype, then of the values, piece by piece as they are stored; those in the files and those in the
        target are the same.
        Empty where it was not written, in a dry run.
    new : bool
        False where it was there already.
    """

    uid: str
    stream: str
    key: str
    size: int
    sha256: str
    new: bool


@dataclass(slots=True, repr=False)
class CopyReport:
    """What `copy` did, or after a dry run would do.

    Attributes
    ----------
    copied, skipped : list of str
        The uids of runs that were copied, and of those that were there already, the same.
    unfinished : list of str
        Runs without a stop, which were passed over.
    refused : dict of str to str
        Why runs were not copied, by uid.
    documents : int
        How many were copied.
    exact : bool
        Whether documents were compared one by one in their order. False where one of the stores gives them in another
        order or form, as MongoDB does: then events and datums were compared each by itself, in any order.
    files : list of CopiedFile
    arrays : list of EmbeddedArray
    missing : dict of str to str
        Files that runs name and that could not be copied with them, since they are not there or may not be read: why.
    root_map : dict of str to str
        What a catalog of the copies needs, as its argument, to find the files that were copied.
    dry_run : bool
    """

    copied: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    documents: int = 0
    exact: bool = True
    files: list[CopiedFile] = field(default_factory=list)
    arrays: list[EmbeddedArray] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    root_map: dict[str, str] = field(default_factory=dict)
    dry_run: bool = False

    def check(self) -> CopyReport:
        """Raise if runs were refused, or files are missing.

        Raises
        ------
        CopyFailed
        """
        if self.refused or self.missing:
            raise CopyFailed(repr(self), self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        names = ("dry_run", "copied", "skipped", "unfinished", "refused", "documents", "exact", "missing", "root_map")
        files = [{name: getattr(one, name) for name in CopiedFile.__slots__} for one in self.files]
        arrays = [{name: getattr(one, name) for name in EmbeddedArray.__slots__} for one in self.arrays]
        return {**{name: getattr(self, name) for name in names}, "files": files, "arrays": arrays}

    def __repr__(self) -> str:
        return "\n".join([self.head, *self._lines()])

    @property
    def head(self) -> str:
        """What was done, in a line."""
        done = "would be copied" if self.dry_run else "copied"
        documents = "" if self.dry_run else f" ({_counted(self.documents, 'document')})"
        parts = [f"{_counted(len(self.copied), 'run')} {done}{documents}"]
        parts += [f"{len(self.skipped):,} there already"] if self.skipped else []
        parts += [f"{len(self.unfinished):,} without a stop passed over"] if self.unfinished else []
        parts += [f"{len(self.refused):,} refused"] if self.refused else []
        embedded = "would be embedded" if self.dry_run else "embedded"
        parts += [*_brought(self.files, "file", done), *_brought(self.arrays, "array", embedded)]
        parts += [f"{_counted(len(self.missing), 'file')} missing"] if self.missing else []
        return ", ".join(parts)

    def _lines(self) -> Iterator[str]:
        if not self.exact:
            yield ANY_ORDER
        for title, told in (("refused", self.refused), ("missing", self.missing)):
            yield from (f"{title} {what}: {printable(why)}" for what, why in list(told.items())[:SHOWN])
            if len(told) > SHOWN:
                yield f"and {len(told) - SHOWN:,} more {title}"

    def _repr_html_(self) -> str:
        parts = [] if self.exact else [f"<div>{escaped(ANY_ORDER)}</div>"]
        parts += [_table(title, told) for title, told in self._tables() if told]
        return page("CopyReport", escaped(self.head), *parts)

    def _tables(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        yield "refused", self.refused
        yield "missing files", self.missing
        yield "root_map", self.root_map


def _table(title: str, told: Mapping[str, str]) -> str:
    rows = [(code(what), escaped(why)) for what, why in list(told.items())[:SHOWN]]
    return fold(title, f"{len(told):,}", grid((), rows, wrap={1}), unfolded=True)


def _brought(several: Sequence[CopiedFile | EmbeddedArray], thing: str, done: str) -> Iterator[str]:
    """What became of files, or arrays."""
    new = [one for one in several if one.new]
    if several:
        yield f"{_counted(len(new), thing)} {done} ({_size(sum(one.size for one in new))})"
    if len(new) < len(several):
        yield f"{_counted(len(several) - len(new), thing)} there already"


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _size(number: int) -> str:
    size, unit = float(number), 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {UNITS[unit]}"
